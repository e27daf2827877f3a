"""The process that accesses remotes: `python -m study.artifacts.remote_worker`, request on stdin.

Only this process imports DVC's library, whose exact version is pinned. Its parent displays its
output (one JSON object per line) and enforces the deadline, so that a library that waits for a dead
host is ended from outside.

Design choices
- Every object is hashed before it is sent, and after it was received, outside the cache. An object
  whose hash differs from its name is not sent or stored.
- The remote is queried for its objects each time. DVC uses a local index, so a remote that lost an
  object would not get it again.
- A folder is replaced in one step, so that a killed pull leaves either the earlier or the new one.
- A listing is checked before it enters the cache and again before it is used: its paths come from a
  remote, and DVC would follow `../../study/cli/arms.py`. Before DVC places anything, the path that
  it would use is compared with ours.
- A listing (.dir) is sent after its files, so that an interrupted push does not look complete. An
  output is placed in the checkout only if all its objects are in the cache.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from study.artifacts.listings import md5
from study.artifacts.placing import check_place, list_output, place
from study.artifacts.transport import Incomplete, Refused, Remote


def send_event(event: str, **values: Any) -> None:
    """Print one line for the parent process; lines of several threads are not mixed."""
    line = json.dumps({"event": event, **values}) + "\n"
    with _SPEAKING:
        sys.stdout.write(line)
        sys.stdout.flush()


_SPEAKING = threading.Lock()


def pull(remote: Remote, output: Mapping[str, Any], outputs: Sequence[Mapping[str, Any]]) -> int:
    """Download one output and place it. Returns the number of downloaded objects. Raises
    Incomplete, Refused. `outputs`: all outputs of the request, see `check_place`.
    """
    listing = output["md5"]
    tick = ticking(output["name"])
    # A listing that was changed in the cache would have the wrong files.
    whole = remote.cached(listing).is_file() and md5(remote.cached(listing)) == listing[:32]
    if not whole:
        remote.fetch([listing], {listing: f"the listing of {output['where']}"}, tick)
    names = list_output(remote, output)
    wanted = [oid for oid in names if not remote.cached(oid).is_file()]
    remote.fetch(wanted, names, tick)
    send_event("placing", name=output["name"])
    check_place(remote, output, outputs)
    place(remote, output)
    return len(wanted) + (not whole)


def push(remote: Remote, outputs: list[Mapping[str, Any]], again: bool) -> None:
    """Upload the objects of these outputs that the remote does not have; with `again` all of
    them."""
    here = [output for output in outputs if remote.cached(output["md5"]).is_file()]
    absent = [output for output in outputs if output not in here]
    known = remote.present(output["md5"] for output in absent)
    for output in absent:
        send_event("absent", name=output["name"], there=output["md5"] in known)
    names: dict[str, str] = {}
    for output in list(here):
        try:
            files = list_output(remote, output)
        except Incomplete as error:
            here.remove(output)
            send_event("pushed", name=output["name"], problems=list(error.problems.values()))
            continue
        names |= {output["md5"]: f"the listing of {output['where']}", **files}
    there = set() if again else remote.present(names)
    send_event("plan", total=len(set(names) - there), there=len(there))
    for output in here:
        problems = _push_one(remote, output, names, there)
        send_event("pushed", name=output["name"], problems=problems)


def _push_one(
    remote: Remote, output: Mapping[str, Any], names: Mapping[str, str], there: set[str]
) -> list[str]:
    tick = ticking(output["name"])
    files = set(list_output(remote, output))
    lost = [oid for oid in files - there if not remote.cached(oid).is_file()]
    wanted = sorted(files - there - {*lost})
    try:
        remote.send(wanted, names, tick)
        if lost:
            raise Incomplete(
                {names[o]: f"{names[o]} is neither in this cache nor on the remote" for o in lost}
            )
        if output["md5"] not in there | files:
            remote.send([output["md5"]], names, tick)
    except Incomplete as error:
        return list(error.problems.values())
    there |= {*wanted, output["md5"]}
    return []


def ticking(name: str) -> Callable[[], None]:
    return lambda: send_event("object", name=name)


def serve(request: Mapping[str, Any]) -> None:
    """Serve one request: `check` (a round trip), `pull` or `push`."""
    from dvc.repo import Repo

    from study.artifacts.store import step_back

    step_back(Path(request["top"]))
    repo = Repo(request["top"])
    remote = Remote(repo, request.get("remote"))
    remote.load_client()
    send_event("ready", name=remote.name, where=remote.where)
    action = request["action"]
    remote.reach(write=action in ("check", "push"))
    send_event("reached", name=remote.name, url=remote.url, cache=str(remote.cache))
    if action == "push":
        push(remote, request["outputs"], request.get("again", False))
    if action == "pull":
        outputs = request["outputs"]
        for output in outputs:
            try:
                send_event(
                    "pulled", name=output["name"], count=pull(remote, output, outputs), problems=[]
                )
            except Incomplete as error:
                problems = list(error.problems.values())
                send_event("pulled", name=output["name"], count=0, problems=problems)


def main() -> int:
    # Output of libraries would break the lines for the parent process.
    with contextlib.redirect_stderr(sys.stderr):
        try:
            serve(json.load(sys.stdin))
        except Refused as error:
            send_event("refused", cause=str(error))
            return 1
    send_event("done")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
