"""A checkout with stored outputs, written by hand: listing, objects and dvc.lock, no stage run."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DVC_YAML = """stages:
  train:
    foreach: {control: 1, flat: 2}
    do:
      cmd: "true"
      outs: ["runs/${key}": {persist: true}]
"""


def store(top: Path, arms: dict[str, dict[str, str]]) -> None:
    """A git and DVC repository at `top` whose dvc.lock records these files, all in its cache."""
    (top / ".dvc").mkdir(parents=True)
    for name in ("config", ".gitignore"):
        (top / ".dvc" / name).write_text((ROOT / ".dvc" / name).read_text())
    (top / ".gitignore").write_text("/runs/\n")
    (top / "dvc.yaml").write_text(DVC_YAML)
    record(top, arms)
    git(top, "init", "-qb", "main")
    git(top, "add", "-A")
    git(top, "commit", "-qm", "stored")


def record(top: Path, arms: dict[str, dict[str, str]]) -> None:
    """Put these files into the cache and record them in dvc.lock, in place of what it recorded."""
    stages = []
    for arm, files in arms.items():
        entries = [{"md5": put(top, text), "relpath": name} for name, text in files.items()]
        listing = json.dumps(sorted(entries, key=lambda entry: entry["relpath"]))
        stages.append(
            f"  train@{arm}:\n    cmd: 'true'\n    outs:\n    - path: runs/{arm}\n      hash: md5\n"
            f"      md5: {put(top, listing, '.dir')}\n      size: 9\n      nfiles: {len(files)}\n"
        )
    (top / "dvc.lock").write_text("schema: '2.0'\nstages:\n" + "".join(stages))


def put(top: Path, text: str, suffix: str = "") -> str:
    oid = hashlib.md5(text.encode()).hexdigest() + suffix
    file = object_of(top, oid)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o444)
    return oid


def object_of(top: Path, oid: str) -> Path:
    return top / ".dvc/cache/files/md5" / oid[:2] / oid[2:]


def spoil(file: Path) -> None:
    """Change a read-only object as root can: same mode, other bytes."""
    file.chmod(0o644)
    file.write_text("spoilt")
    file.chmod(0o444)


def git(top: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(("git", *identity, *arguments), cwd=top, check=True)
