"""A message to a webhook when a job ends: one POST of JSON, from the supervisor.

    [notify]                                  in .streamlit/secrets.toml, which git ignores
    webhook = "https://chat.example.org/hooks/..."

The address is read only from this file. The message is sent once, without redirects. If the webhook
does not answer, the job is not affected, and the reason is in the log of the supervisor.

    {"text": "control is done: 8 seeds", "job": ..., "arm": ..., "state": "done", "cause": null,
     "seeds": [...], "ended": 1700000000.0}
"""

from __future__ import annotations

import http.client
import json
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import SplitResult, quote, urlsplit

from study.jobs.models import Job
from study.reading import read_text
from study.settings import UserError

FILE = Path(".streamlit/secrets.toml")
TIMEOUT_S = 10.0
KEPT = "/?%:@!$&'()*+,;=-._~"  # allowed in an address; other characters are encoded


def address(root: Path) -> SplitResult | None:
    """The webhook of this folder, or None. Raises UserError for a malformed entry."""
    try:
        content = tomllib.loads(read_text(root / FILE))
    except FileNotFoundError:
        return None
    except RecursionError:
        raise UserError(f"{FILE} is nested too deeply") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{FILE} cannot be read ({error}); it has to be valid TOML") from None
    section = content.get("notify")
    if section is None:
        return None
    given = section.get("webhook") if isinstance(section, dict) else None
    try:
        parts = urlsplit(given if isinstance(given, str) else "")
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            parts.hostname.encode("idna")
            return parts
    except ValueError:
        pass  # not an address
    raise UserError(
        f"[notify] in {FILE} is malformed. Accepted is one address: "
        'webhook = "https://chat.example.org/hooks/..."'
    )


def message(job: Job) -> dict[str, object]:
    """The message about a job that ended."""
    seeds = f"{len(job.seeds)} seed{'' if len(job.seeds) == 1 else 's'}"
    cause = f" ({job.cause})" if job.cause else ""
    return {
        "text": f"{job.arm} is {job.state}: {seeds}{cause}",
        "job": job.id,
        "arm": job.arm,
        "state": job.state,
        "cause": job.cause,
        "seeds": list(job.seeds),
        "ended": job.ended,
    }


def send(parts: SplitResult, content: dict[str, object]) -> None:
    """POST JSON once. Raises OSError or HTTPException, and UserError for another answer than 2xx.

    Error messages do not contain the address, which may include a secret.
    """
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        path = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=KEPT)
        body = json.dumps(content).encode()
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        status = connection.getresponse().status
    finally:
        connection.close()
    if not 200 <= status < 300:
        raise UserError(f"the webhook answered {status}")


def notify(root: Path, job: Job, log: Callable[[str], None]) -> threading.Thread | None:
    """Send the message about a job that ended, in a new thread; None without a webhook."""
    try:
        parts = address(root)
    except UserError as error:
        log(str(error))
        return None
    if parts is None:
        return None

    def work() -> None:
        try:
            send(parts, message(job))
        except (OSError, http.client.HTTPException, UserError) as error:
            log(f"no notice of {job.id}: {type(error).__name__} {error}")

    thread = threading.Thread(target=work, name="notice")
    thread.start()
    return thread
