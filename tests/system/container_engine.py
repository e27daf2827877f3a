"""Images built and containers run for real by Debian's buildah and podman, in a store of their own.

No Docker engine and no registry are needed: the base image is debootstrapped and imported under the
name that the Dockerfile asks for. Everything lies under one folder, which `close` empties.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
# Without the CPU limits of a login session, which an unprivileged user namespace cannot raise.
LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096")


def run(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)


def must(*command: str | Path, cwd: Path | None = None) -> str:
    """Standard output of a command that succeeds; its last lines are the failure otherwise."""
    done = run(*command, cwd=cwd)
    tail = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
    assert done.returncode == 0, f"{shlex.join(map(str, command))}\n{tail}"
    return done.stdout


class Engine:
    """buildah and podman with their store under `folder`, which has to be short and empty."""

    def __init__(self, folder: Path) -> None:
        assert os.geteuid() == 0, (
            "these tests build a base image with debootstrap: run them as root"
        )
        self.folder = folder
        self.store = ["--root", str(folder / "store"), "--runroot", str(folder / "run")]
        self.store += ["--storage-driver", "overlay"]
        if must("stat", "-f", "-c", "%T", folder).strip() == "overlayfs":
            # The kernel lays no overlay over an overlay: inside a container FUSE does it.
            fuse = shutil.which("fuse-overlayfs")
            self.store += ["--storage-opt", f"overlay.mount_program={fuse}"]

    def make_base(self, name: str, suite: str) -> None:
        """A minimal Debian with Python and git, imported under the name of the real base."""
        tree = self.folder / "base"
        packages = "--include=ca-certificates,python3,python3-venv,git"
        must("debootstrap", "--variant=minbase", packages, suite, tree, mirror())
        archive = self.folder / "base.tar"
        must("tar", "-C", tree, "-cf", archive, ".")
        must("podman", *self.store, "import", archive, name)
        archive.unlink()
        shutil.rmtree(tree)

    def build(self, context: Path, tag: str, *options: str) -> str:
        """The build's log, a line `STEP n/m: ...` for each step."""
        command = ["buildah", *self.store, "build", "--isolation", "chroot", "--network", "host"]
        # docker: OCI's own format drops the HEALTHCHECK.
        command += ["--format", "docker", "--pull=never", "--layers", *options, "-t", tag, "."]
        done = run(*command, cwd=context)
        log = done.stdout + done.stderr
        assert done.returncode == 0, "\n".join(log.splitlines()[-40:])
        return log

    def podman(self, *words: str) -> str:
        return must("podman", *self.store, *words)

    def run(self, image: str, *command: str, options: Iterable[str] = ()):
        """`podman run`: the image's own entry point, user and environment."""
        words = [*self.store, "--runtime", "crun", "--cgroup-manager", "cgroupfs", "run", "--rm"]
        words += ["--network", "host", "--cgroups=disabled", "--no-healthcheck", *LIMITS]
        return run(*apart("podman", *words, *options, image, *command))

    def exec(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        words = (*self.store, "--runtime", "crun", "--cgroup-manager", "cgroupfs", "exec", name)
        return run(*apart("podman", *words, *command))

    def close(self) -> None:
        """Stop what still runs, unmount, delete."""
        run("podman", *self.store, "rm", "--all", "--force", "--time", "1")
        for line in reversed(Path("/proc/mounts").read_text().splitlines()):
            if (where := line.split()[1]).startswith(f"{self.folder}/"):
                run("umount", "--lazy", where)
        shutil.rmtree(self.folder)


def apart(*command: str) -> list[str]:
    """The command in a mount namespace without the second control-group tree of hybrid kernels.

    There crun takes version 1 and version 2 for mounted at once and starts nothing.
    """
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    hybrid = [m[1] for m in mounts if m[2] == "cgroup2" and m[1] != "/sys/fs/cgroup"]
    if not hybrid:
        return list(command)
    script = "".join(f"umount {shlex.quote(where)} && " for where in hybrid) + 'exec "$@"'
    return ["unshare", "-m", "sh", "-c", script, "sh", *command]


def mirror() -> str:
    """The Debian archive that apt uses here, else the public one."""
    listed = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(COMPONENT)").stdout
    found = re.findall(r"^(\S+/debian)/? Debian main$", listed, re.MULTILINE)
    return found[0] if found else "http://deb.debian.org/debian"


class PipSettings:
    """What pip is configured to on this machine, to be lent to a build and to stay out of it."""

    SINGLE = ("index-url", "cert", "client-cert", "proxy", "timeout", "constraint", "no-index")
    MANY = ("extra-index-url", "find-links", "trusted-host")

    def __init__(self, listed: str | None = None) -> None:
        self.values: dict[str, list[str]] = {}
        if listed is None:
            listed = must(sys.executable, "-m", "pip", "config", "list")
        for line in listed.splitlines():
            key, _, value = line.partition("=")
            name = key.rsplit(".", 1)[-1].replace("default-timeout", "timeout")
            parts = value.strip("'\"").replace("\\n", " ").split()
            if name in self.MANY:
                known = self.values.setdefault(name, [])
                known += [part for part in parts if part not in known]
            elif name in self.SINGLE:
                # pip lists the environment first, and the environment wins.
                self.values.setdefault(name, parts)

    def text(self) -> str:
        lines = (f"{name} = " + "\n    ".join(parts) for name, parts in self.values.items())
        return "[global]\n" + "\n".join(lines) + "\n"

    def paths(self) -> list[Path]:
        """Files and folders of this machine that the configuration names."""
        found = []
        for name, parts in self.values.items():
            for part in parts:
                path = Path(part.removeprefix("file://"))
                if path.is_absolute() and path.exists():
                    # The pages of an index on disk link to files beside it.
                    found.append(path.parent if name.endswith("index-url") else path)
        return list(dict.fromkeys(found))

    def has_cpu_torch(self) -> bool:
        return any(True for folder in self.paths() for _ in folder.glob("torch-*+cpu-*.whl"))

    def options(self, file: Path) -> list[str]:
        """Options of a build; the configuration is written to `file` and lent as a secret."""
        words = ["--build-arg", "CPU_INDEX="] if self.has_cpu_torch() else []
        if self.values:
            file.write_text(self.text())
            words += ["--secret", f"id=pip,src={file}"]
        for path in self.paths():
            words += ["-v", f"{path}:{path}:ro"]
        return words
