"""The process that talks to a remote: `python -m study.stages.transfer` with one request on stdin.

It alone imports DVC's library, whose exact version is pinned; the command that started it shows
what it says (one JSON object a line) and holds the deadline: a library that waits for a dead host
is ended from outside.

Design choices
- Every object is hashed: before it is sent, and after it came, beside the cache and not in it. What
  does not hash to its name goes nowhere.
- What a remote has is asked of the remote each time. DVC keeps an index of its own, by which a
  remote that lost an object would stay without it.
- A listing (.dir) is sent after the files that it names, so that a broken push leaves nothing that
  looks whole. An output is placed in the checkout only when all its objects are here.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import shutil
import sys
import tempfile
import threading
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from study.stages.causes import codes, explain

JOBS = 8
CLIENTS = {
    "s3": "s3fs",
    "ssh": "dvc_ssh.spec",
    "webdav": "webdav4.fsspec",
    "webdavs": "webdav4.fsspec",
}
CHUNK = 1 << 20


class Refused(Exception):
    """The request cannot be served; the sentence for the user."""


class Incomplete(Exception):
    """Problems of one output: path inside it -> sentence."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(problems.values()))
        self.problems = dict(problems)


def say(event: str, **values: Any) -> None:
    """One line for the process that reads us; whole, whichever thread says it."""
    line = json.dumps({"event": event, **values}) + "\n"
    with _SPEAKING:
        sys.stdout.write(line)
        sys.stdout.flush()


_SPEAKING = threading.Lock()


class Remote:
    """One DVC remote, and the cache of this checkout."""

    def __init__(self, repo: Any, name: str | None) -> None:
        from dvc.config import ConfigError, NoRemoteError, RemoteNotFoundError

        try:
            found = repo.cloud.get_remote(name)
        except NoRemoteError:
            raise Refused("no remote") from None
        except RemoteNotFoundError:
            known = ", ".join(sorted(repo.config["remote"])) or "none"
            raise Refused(f"no remote {name!r}; configured: {known}") from None
        except (ConfigError, ImportError) as error:
            raise Refused(f"remote {name!r} cannot be used: {error}") from None
        self.repo, self.name = repo, found.name
        self.url = str(repo.config["remote"][found.name]["url"])
        self.endpoint = repo.config["remote"][found.name].get("endpointurl")
        self.where = f"{self.url} at {self.endpoint}" if self.endpoint else self.url
        self.cache = Path(repo.cache.local.path)
        self._found = found
        self._made: set[str] = set()

    def cached(self, oid: str) -> Path:
        return self.cache / oid[:2] / oid[2:]

    @property
    def fs(self) -> Any:
        return self._found.fs

    def path(self, oid: str) -> str:
        return self._found.odb.oid_to_path(oid)

    def present(self, oids: Iterable[str]) -> set[str]:
        """Which of these objects the remote has now, at the size that they have here.

        Not every server writes whole files: a killed push can leave a part under the final name.
        """
        wanted = list(oids)
        with ThreadPoolExecutor(JOBS) as pool:
            sizes = pool.map(self._size, wanted)
            return {oid for oid, size in zip(wanted, sizes, strict=True) if self._fits(oid, size)}

    def _size(self, oid: str) -> int | None:
        try:
            return int(self.fs.info(self.path(oid))["size"])
        except FileNotFoundError:
            return None

    def _fits(self, oid: str, size: int | None) -> bool:
        here = self.cached(oid)
        return size is not None and (not here.is_file() or here.stat().st_size == size)

    def load_client(self) -> None:
        """Import what speaks the protocol: seconds that are the disk's and not the remote's."""
        with contextlib.suppress(ImportError):
            importlib.import_module(CLIENTS.get(self._found.fs.protocol, "dvc.fs"))

    # -- the connection

    def reach(self, write: bool) -> None:
        """List the remote, and with `write` store, read, compare and remove a small object.

        Raises Refused.
        """
        reading = True
        try:
            self._connect()
            self._list()
            reading = False
            if write:
                self._round_trip()
        except Refused:
            raise
        except Exception as error:
            raise Refused(explain(error, self.name, self.where, not reading)) from error

    def _connect(self) -> None:
        """A plain connection first: libraries repeat a refused one for half a minute."""
        address = urllib.parse.urlsplit(self.endpoint or self.url.replace("webdav", "http", 1))
        if address.scheme not in ("http", "https") or not address.hostname:
            return
        proxies = urllib.request.getproxies()
        if address.scheme in proxies and not urllib.request.proxy_bypass(address.hostname):
            return
        import socket

        port = address.port or {"http": 80, "https": 443}[address.scheme]
        socket.create_connection((address.hostname, port), timeout=6).close()

    def _list(self) -> None:
        if self.fs.protocol == "local":
            self._check_folder(Path(self._found.path))
            return
        try:
            self.fs.ls(self._found.path)
        except FileNotFoundError as error:
            # A remote that nothing was sent to yet has no folder; a missing bucket says so.
            if "NoSuchBucket" in codes(error):
                raise

    def _check_folder(self, folder: Path) -> None:
        if folder.is_dir():
            next(folder.iterdir(), None)
            return
        if not folder.parent.is_dir():
            raise Refused(
                f"remote {self.name!r} is not there: the folder {folder} does not exist, nor does "
                "the one above it. Is the disk mounted? `study remote list` shows the address"
            )

    def _round_trip(self) -> None:
        content = uuid.uuid4().hex.encode()
        target = self.fs.join(self._found.path, ".armature-check", content.decode())
        self.fs.makedirs(self.fs.parent(target), exist_ok=True)
        self.fs.pipe_file(target, content)
        try:
            back = bytes(self.fs.cat_file(target))
        finally:
            self.fs.rm_file(target)
        if back != content:
            raise Refused(f"remote {self.name!r} gave back other bytes than it was sent")

    # -- objects

    def fetch(
        self, oids: Iterable[str], named: Mapping[str, str], tick: Callable[[], None]
    ) -> None:
        """Bring objects into the cache, each hashed before it gets there. Raises Incomplete."""
        problems: dict[str, str] = {}

        def one(oid: str) -> None:
            problem = self._fetched(oid, named[oid], scratch)
            tick()
            if problem:
                problems[named[oid]] = problem

        self.cache.mkdir(parents=True, exist_ok=True)
        sweep(self.cache)
        with tempfile.TemporaryDirectory(dir=self.cache, prefix=f".pull-{os.getpid()}-") as folder:
            scratch = Path(folder)
            with ThreadPoolExecutor(JOBS) as pool:
                list(pool.map(one, oids))
        if problems:
            raise Incomplete(problems)

    def _fetched(self, oid: str, what: str, scratch: Path) -> str | None:
        """None when the object is in the cache now, else what is wrong."""
        part = scratch / oid
        try:
            self.fs.get_file(self.path(oid), str(part))
        except FileNotFoundError:
            return (
                f"{what} is missing on remote {self.name!r} (object {oid}). A clone that has it "
                "sends it with `study push`"
            )
        except Exception as error:
            return f"{what}: {explain(error, self.name, self.where)}"
        if md5(part) != oid.partition(".")[0]:
            return (
                f"{what} is corrupted on remote {self.name!r} (object {oid}) and was refused. A "
                "clone that has it whole replaces it with `study push --again`"
            )
        part.chmod(0o444)
        self.cached(oid).parent.mkdir(exist_ok=True)
        part.replace(self.cached(oid))
        return None

    def send(self, oids: Iterable[str], named: Mapping[str, str], tick: Callable[[], None]) -> None:
        """Send objects of the cache, each hashed before it leaves. Raises Incomplete."""
        problems: dict[str, str] = {}

        def one(oid: str) -> None:
            problem = self._sent(oid, named[oid])
            tick()
            if problem:
                problems[named[oid]] = problem

        with ThreadPoolExecutor(JOBS) as pool:
            list(pool.map(one, oids))
        if problems:
            raise Incomplete(problems)

    def _sent(self, oid: str, what: str) -> str | None:
        if md5(self.cached(oid)) != oid.partition(".")[0]:
            return (
                f"{what} is corrupted in this cache (object {oid}) and was not sent; "
                "`study verify --cache` says how to mend it"
            )
        target = self.path(oid)
        parent = self.fs.parent(target)
        try:
            if parent not in self._made:
                self.fs.makedirs(parent, exist_ok=True)
                self._made.add(parent)
            self.fs.put_file(str(self.cached(oid)), target)
        except Exception as error:
            return f"{what}: {explain(error, self.name, self.where, writing=True)}"
        return None


def md5(file: Path) -> str:
    found = hashlib.md5(usedforsecurity=False)
    with file.open("rb") as stream:
        while block := stream.read(CHUNK):
            found.update(block)
    return found.hexdigest()


def listed(remote: Remote, output: Mapping[str, Any]) -> dict[str, str]:
    """oid -> path inside the checkout, of the files of an output whose listing is in the cache."""
    where = output["where"]
    if not output["md5"].endswith(".dir"):
        return {output["md5"]: where}
    entries = json.loads(remote.cached(output["md5"]).read_text())
    return {entry["md5"]: f"{where}/{entry['relpath']}" for entry in entries}


def pull(remote: Remote, output: Mapping[str, Any]) -> int:
    """Bring one output and place it. Returns how many objects came. Raises Incomplete, Refused."""
    listing = output["md5"]
    tick = ticking(output["name"])
    # A listing that was changed in the cache would name the wrong files.
    whole = remote.cached(listing).is_file() and md5(remote.cached(listing)) == listing[:32]
    if not whole:
        remote.fetch([listing], {listing: f"the listing of {output['where']}"}, tick)
    names = listed(remote, output)
    wanted = [oid for oid in names if not remote.cached(oid).is_file()]
    remote.fetch(wanted, names, tick)
    say("placing", name=output["name"])
    place(remote.repo, output)
    return len(wanted) + (not whole)


def place(repo: Any, output: Mapping[str, Any]) -> None:
    """Put an output whose objects are all here into the checkout. Raises Refused."""
    from dvc.exceptions import CheckoutError, DvcException
    from dvc.lock import LockError

    repo.drop_data_index()
    try:
        repo.checkout(targets=[output["address"]], force=False)
    except LockError:
        raise Refused(
            "another dvc command works in this checkout; run this again when it is done"
        ) from None
    except CheckoutError:
        raise Incomplete({output["where"]: f"{output['where']} could not be placed"}) from None
    except DvcException as error:
        if "without confirmation" not in str(error):
            raise
        raise Incomplete(
            {
                output["where"]: f"{output['where']} here holds files that nothing stored keeps; "
                "move it away, then pull again"
            }
        ) from None


def push(remote: Remote, outputs: list[Mapping[str, Any]], again: bool) -> None:
    """Send what the remote lacks of these outputs; with `again` all of it."""
    here = [output for output in outputs if remote.cached(output["md5"]).is_file()]
    absent = [output for output in outputs if output not in here]
    known = remote.present(output["md5"] for output in absent)
    for output in absent:
        say("absent", name=output["name"], there=output["md5"] in known)
    names: dict[str, str] = {}
    for output in here:
        names |= {output["md5"]: f"the listing of {output['where']}", **listed(remote, output)}
    there = set() if again else remote.present(names)
    say("plan", total=len(set(names) - there), there=len(there))
    for output in here:
        problems = _push_one(remote, output, names, there)
        say("pushed", name=output["name"], problems=problems)


def _push_one(
    remote: Remote, output: Mapping[str, Any], names: Mapping[str, str], there: set[str]
) -> list[str]:
    tick = ticking(output["name"])
    files = set(listed(remote, output))
    lost = [oid for oid in files - there if not remote.cached(oid).is_file()]
    wanted = sorted(files - there - {*lost})
    try:
        remote.send(wanted, names, tick)
        if lost:
            raise Incomplete(
                {names[o]: f"{names[o]} is neither in this cache nor there" for o in lost}
            )
        if output["md5"] not in there | files:
            remote.send([output["md5"]], names, tick)
    except Incomplete as error:
        return list(error.problems.values())
    there |= {*wanted, output["md5"]}
    return []


def ticking(name: str) -> Callable[[], None]:
    return lambda: say("object", name=name)


def serve(request: Mapping[str, Any]) -> None:
    """Serve one request: `check` (a round trip), `pull` or `push`."""
    from dvc.repo import Repo

    from study.stages.store import step_back

    step_back(Path(request["top"]))
    repo = Repo(request["top"])
    remote = Remote(repo, request.get("remote"))
    remote.load_client()
    say("ready", name=remote.name, where=remote.where)
    action = request["action"]
    remote.reach(write=action in ("check", "push"))
    say("reached", name=remote.name, url=remote.url, cache=str(remote.cache))
    if action == "push":
        push(remote, request["outputs"], request.get("again", False))
    if action == "pull":
        for output in request["outputs"]:
            try:
                say("pulled", name=output["name"], count=pull(remote, output), problems=[])
            except Incomplete as error:
                problems = list(error.problems.values())
                say("pulled", name=output["name"], count=0, problems=problems)


def sweep(cache: Path) -> None:
    """Remove what killed pulls left beside the cache; what living ones write stays."""
    for folder in cache.glob(".pull-*-*"):
        pid = folder.name.split("-")[1]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    # Libraries that print would break the lines that the other process reads.
    with contextlib.redirect_stderr(sys.stderr):
        try:
            serve(json.load(sys.stdin))
        except Refused as error:
            say("refused", cause=str(error))
            return 1
    say("done")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
