"""The message at the end of a job, to a real HTTP server on this machine."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from study.jobs import notice
from study.jobs.models import Job, new_id
from study.settings import UserError


class Hook(HTTPServer):
    """Keeps what was posted; `answer`: its status, or None for a redirect to itself."""

    answer: int = 204
    posted: list[tuple[str, dict]]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Hook)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.append((self.path, json.loads(body)))
        self.send_response(self.server.answer)
        if self.server.answer == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    server = Hook(("127.0.0.1", 0), Handler)
    server.posted = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def configured(root: Path, text: str) -> Path:
    (root / ".streamlit").mkdir()
    (root / ".streamlit" / "secrets.toml").write_text(text)
    return root


def job(state: str, cause: str | None) -> Job:
    facts = {"id": new_id("cnn"), "arm": "cnn", "seeds": (1, 2), "executor": "local"}
    now = time.time()
    return Job.model_validate(
        {**facts, "state": state, "cause": cause, "created": now, "ended": now}
    )


def sent(root: Path, one: Job) -> list[str]:
    """Lines of the log after the message of a job."""
    lines: list[str] = []
    thread = notice.notify(root, one, lines.append)
    if thread is not None:
        thread.join()
    return lines


@pytest.mark.parametrize(("state", "cause"), [("done", None), ("failed", "the loss is NaN")])
def test_the_end_of_a_job_is_posted_once(tmp_path, hook, state, cause):
    port = hook.server_address[1]
    root = configured(tmp_path, f'[notify]\nwebhook = "http://127.0.0.1:{port}/hooks/a?b=c"\n')
    one = job(state, cause)
    assert sent(root, one) == []
    [(path, content)] = hook.posted
    assert path == "/hooks/a?b=c"
    assert {key: content[key] for key in ("job", "arm", "state", "cause", "seeds")} == {
        "job": one.id, "arm": "cnn", "state": state, "cause": cause, "seeds": [1, 2],
    }  # fmt: skip
    assert "cnn" in content["text"] and (cause or "done") in content["text"]


@pytest.mark.parametrize("answer", [302, 404, 500])
def test_a_webhook_that_refuses_is_a_line_in_the_log_without_its_address(tmp_path, hook, answer):
    hook.answer = answer
    port = hook.server_address[1]
    root = configured(tmp_path, f'[notify]\nwebhook = "http://127.0.0.1:{port}/secret"\n')
    [line] = sent(root, job("done", None))
    assert str(answer) in line and "secret" not in line
    assert len(hook.posted) == 1, "no redirect is followed, nothing is sent twice"


def test_a_webhook_that_is_not_there_is_a_line_in_the_log(tmp_path, hook):
    hook.server_close()
    port = hook.server_address[1]
    root = configured(tmp_path, f'[notify]\nwebhook = "http://127.0.0.1:{port}/"\n')
    assert len(sent(root, job("done", None))) == 1


def test_without_a_webhook_nothing_is_sent(tmp_path):
    assert notice.notify(tmp_path, job("done", None), pytest.fail) is None
    configured(tmp_path, '[access]\nemails = ["ada@example.org"]\n')
    assert notice.notify(tmp_path, job("done", None), pytest.fail) is None


@pytest.mark.parametrize(
    "text",
    ['webhook = "file:///etc/passwd"', "webhook = 3", 'webhook = "http://"', "",
     'webhook = "http://a:99999/"', 'webhook = "//x/y"'],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(tmp_path, text):
    with pytest.raises(UserError, match="webhook"):
        notice.address(configured(tmp_path, f"[notify]\n{text}\n"))


def test_the_supervisor_sends_the_end_of_a_job(tmp_path, hook, monkeypatch):
    from study.jobs.folder import JobFolder
    from study.jobs.supervisor import Loop

    port = hook.server_address[1]
    root = configured(tmp_path, f'[notify]\nwebhook = "http://127.0.0.1:{port}/"\n')
    facts = {"id": new_id("cnn"), "arm": "cnn", "seeds": (1,), "executor": "local"}
    JobFolder(root).save(
        Job.model_validate({**facts, "state": "queued", "created": time.time(), "cancel": True})
    )
    loop = Loop(root)
    loop._recover()
    until = time.monotonic() + 60
    while not hook.posted and time.monotonic() < until:
        loop.tick()
        time.sleep(0.05)
    assert [content["state"] for _, content in hook.posted] == ["cancelled"]
    loop.tick()
    assert len(hook.posted) == 1


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 3000, '[notify]\nwebhook = "http://a..b/"', "[notify]\nwebhook = 5",
             '[notify]\nwebhook = "http://' + "a" * 70 + '.example/"'],
)  # fmt: skip
def test_a_malformed_file_is_a_line_in_the_log(tmp_path: Path, text: str) -> None:
    lines: list[str] = []
    assert notice.notify(configured(tmp_path, text), job("done", None), lines.append) is None
    assert len(lines) == 1 and "secrets.toml" in lines[0]


def test_a_path_that_is_not_ascii_is_encoded(hook: Hook, tmp_path: Path) -> None:
    entry = f'[notify]\nwebhook = "http://127.0.0.1:{hook.server_port}/é?a=b%20c"'
    lines: list[str] = []
    thread = notice.notify(configured(tmp_path, entry), job("done", None), lines.append)
    assert thread is not None
    thread.join(20)
    assert lines == [] and [path for path, _ in hook.posted] == ["/%C3%A9?a=b%20c"]
