"""The process for remotes: `python -m study.artifacts.remote_worker`, one request on stdin.

It alone imports DVC's library, whose exact version is pinned; the command that started it shows
what it says (one JSON object per line) and holds the deadline: a library that waits for a dead host
is ended from outside.

Design choices
- Every object is hashed: before it is sent, and after it came, beside the cache and not in it. What
  does not hash to its name goes nowhere.
- What a remote has is asked of the remote each time. DVC keeps an index of its own, by which a
  remote that lost an object would stay without it.
- A folder is placed in one step, so that a killed pull leaves the earlier one or the new one.
- A listing is checked before it enters the cache and again before it is used: its paths come from a
  remote, and DVC would follow `../../study/cli/arms.py`. DVC's own idea of where an output belongs
  is compared with ours before DVC places anything.
- A listing (.dir) is sent after the files that it names, so that a broken push leaves nothing that
  looks whole. An output is placed in the checkout only when all its objects are here.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import re
import sys
import threading
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from study.artifacts.errors import codes, explain
from study.artifacts.listings import BrokenListing, UnsafeListing, read_listing
from study.reading import real_path
from study.runs import environment
from study.runs.collect import collecting
from study.runs.temporary import replace_folder, restore_folder, sweep, temporary_folder

JOBS = 8
CLIENTS = {
    "s3": "s3fs",
    "ssh": "dvc_ssh.spec",
    "webdav": "webdav4.fsspec",
    "webdavs": "webdav4.fsspec",
}
CHUNK = 1 << 20
DVC_TEMPORARY = re.compile(r"\.[\w-]{22}\.tmp")
UNSAVED = "{where} has files that are not stored anywhere; move it away, then pull again"


class Refused(Exception):
    """The request cannot be served; the sentence for the user."""


class Incomplete(Exception):
    """Problems of one output: path inside it -> sentence."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(problems.values()))
        self.problems = dict(problems)


def send_event(event: str, **values: Any) -> None:
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
                f"remote {self.name!r} is not available: folder {folder} does not exist, nor does "
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
            raise Refused(f"remote {self.name!r} returned other bytes than were written")

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
        with temporary_folder(self.cache / "pull") as scratch, ThreadPoolExecutor(JOBS) as pool:
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
        if oid.endswith(".dir"):
            try:
                read_listing(part)
            except (UnsafeListing, BrokenListing) as error:
                return f"{what} on remote {self.name!r} was refused: {error}"
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
                f"{what} is corrupted in this cache (object {oid}) and was not uploaded; "
                "`study verify --cache` says how to repair it"
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


def list_output(remote: Remote, output: Mapping[str, Any]) -> dict[str, str]:
    """oid -> path inside the checkout, of the files of an output whose listing is in the cache.

    Raises Incomplete for a listing that cannot be used.
    """
    where = output["where"]
    if not output["md5"].endswith(".dir"):
        return {output["md5"]: where}
    try:
        found = read_listing(remote.cached(output["md5"]))
    except (UnsafeListing, BrokenListing) as error:
        raise Incomplete({where: f"{where} was refused: {error}"}) from None
    return {md5: f"{where}/{relpath}" for relpath, md5 in found.items()}


def pull(remote: Remote, output: Mapping[str, Any], outputs: Sequence[Mapping[str, Any]]) -> int:
    """Bring one output and place it. Returns how many objects came. Raises Incomplete, Refused.

    `outputs`: all of the request, see `check_place`.
    """
    listing = output["md5"]
    tick = ticking(output["name"])
    # A listing that was changed in the cache would name the wrong files.
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


def check_place(
    remote: Remote, output: Mapping[str, Any], outputs: Sequence[Mapping[str, Any]]
) -> None:
    """Compare what DVC would place for the address of an output with what was checked.

    A stage can have several outputs, and a .dvc file a `wdir` or a path of its own. Raises
    Incomplete when DVC would place anything that is not among `outputs`, or into a place that git
    tracks.
    """
    top = Path(remote.repo.root_dir)
    expected = {(item["where"], item["md5"]): item for item in outputs}
    for stage in remote.repo.stage.collect(output["address"]):
        for out in stage.outs:
            if not out.use_cache or not out.hash_info:
                continue
            inside = Path(out.fs_path).is_relative_to(top)
            where = Path(out.fs_path).relative_to(top).as_posix() if inside else out.fs_path
            item = expected.get((where, str(out.hash_info.value)))
            if item is None or out.hash_name != "md5":
                raise Incomplete(
                    {
                        output[
                            "where"
                        ]: f"{output['where']} was refused: {output['address']} would "
                        f"also place {where}, which is not recorded as a stored output"
                    }
                )
            if remote.cached(item["md5"]).is_file():
                list_output(remote, item)
            check_untracked(top, where)


def check_untracked(top: Path, where: str) -> None:
    """Raise Incomplete when git tracks the place of an output, or a link on the way to it.

    Stored outputs are never in git; a tracked path would be replaced by what a remote sent.
    """
    path = top / where
    links = [one for one in (path, *path.parents) if one.is_relative_to(top) and one.is_symlink()]
    tracked = [
        one
        for one in (*links, *([] if links else [path]))
        if environment.git("ls-files", "--", one.relative_to(top).as_posix(), root=top)
    ]
    turned = [one for one in links if real_path(one).is_relative_to(top)]
    if tracked or turned:
        found = (tracked or turned)[0].relative_to(top)
        raise Incomplete(
            {
                where: f"{where} was refused: {found} is "
                + ("tracked by git" if tracked else "a link to another place of this checkout")
                + "; stored outputs must not be tracked by git"
            }
        )


def place(remote: Remote, output: Mapping[str, Any]) -> None:
    """Put an output whose objects are all here into the checkout. Raises Incomplete, Refused."""
    from dvc.exceptions import CheckoutError, DvcException
    from dvc.lock import LockError
    from dvc.repo import lock_repo

    repo, where = remote.repo, output["where"]
    folder = Path(repo.root_dir) / where
    target = real_path(folder)
    # The supervisor and `dvc repro` put runs/ARM together under this lock.
    runs = collecting(folder) if folder.parent.name == "runs" else contextlib.nullcontext()
    repo.drop_data_index()
    try:
        with runs, lock_repo(repo):
            if output["md5"].endswith(".dir"):
                place_folder(remote, output, target)
            # Finds nothing to do in a folder; DVC records what it has seen.
            repo.checkout(targets=[output["address"]], force=False)
    except LockError:
        raise Refused(
            "another dvc command is running in this checkout; try again when it has ended"
        ) from None
    except CheckoutError:
        raise Incomplete({where: f"{where} could not be placed"}) from None
    except DvcException as error:
        if "without confirmation" not in str(error):
            raise
        raise Incomplete({where: UNSAVED.format(where=where)}) from None


def place_folder(remote: Remote, output: Mapping[str, Any], target: Path) -> None:
    """Build the folder beside its place, then exchange the two.

    DVC alone writes file by file: what it leaves when it is killed looks like files of the user,
    and the next pull refuses to replace them. Raises Incomplete, DVC's errors.
    """
    from dvc_data.hashfile.checkout import checkout
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    repo, cache = remote.repo, remote.repo.cache.local
    sweep(target.parent)
    restore_folder(target)
    wanted = read_listing(remote.cached(output["md5"]))
    here = hashes(repo, target)
    if here == wanted:
        return
    if any(not remote.cached(found).is_file() for found in here.values()):
        raise Incomplete({output["where"]: UNSAVED.format(where=output["where"])})
    target.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(target) as building:
        content = Tree.load(cache, HashInfo("md5", output["md5"]))
        checkout(str(building), repo.fs, content, cache, force=True, quiet=True)
        replace_folder(building, target)
    for relpath, value in wanted.items():  # spares DVC from hashing it all again
        repo.state.save(str(target / relpath), repo.fs, HashInfo("md5", value))


def hashes(repo: Any, folder: Path) -> dict[str, str]:
    """path inside -> md5 of the files in a folder, without what a killed DVC left half-copied."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        if (path.is_dir() and not path.is_symlink()) or DVC_TEMPORARY.fullmatch(path.name):
            continue
        _, known = repo.state.get(str(path), repo.fs)
        name = path.relative_to(folder).as_posix()
        found[name] = known.value if known and known.name == "md5" else md5(path)
    return found


def push(remote: Remote, outputs: list[Mapping[str, Any]], again: bool) -> None:
    """Send what the remote lacks of these outputs; with `again` all of it."""
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
    # Libraries that print would break the lines that the other process reads.
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
