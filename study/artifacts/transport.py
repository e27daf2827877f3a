"""Send objects to and fetch them from one DVC remote, with a hash check before and after."""

from __future__ import annotations

import contextlib
import importlib
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from study.artifacts.errors import codes, explain
from study.artifacts.listings import BrokenListing, UnsafeListing, md5, read_listing
from study.runs.temporary import sweep, temporary_folder

JOBS = 8


CLIENTS = {
    "s3": "s3fs",
    "ssh": "dvc_ssh.spec",
    "webdav": "webdav4.fsspec",
    "webdavs": "webdav4.fsspec",
}


class Refused(Exception):
    """The request failed; the message is for the user."""


class Incomplete(Exception):
    """Problems of one output: path inside it -> sentence."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(problems.values()))
        self.problems = dict(problems)


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
        """Which of these objects the remote has, with the same size as here. A killed push can
        leave a partial file under the final name, since not every server writes files atomically.
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
        """Import the client library of the protocol, which can take seconds on a slow disk."""
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
        """Test a plain connection first, since libraries retry a refused one for half a minute."""
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
            # An unused remote has no folder yet; a missing bucket raises an error.
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
        """Download objects into the cache, each hashed before it is stored. Raises Incomplete."""
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
        """None if the object is now in the cache, else what is wrong."""
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
        """Upload objects of the cache, each hashed before it is sent. Raises Incomplete."""
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
                "`study verify --cache` shows how to repair it"
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
