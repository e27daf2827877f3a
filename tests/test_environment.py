"""How much memory a process may take, by what the system says."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from study.reading import UserError
from study.runs import environment
from study.runs.environment import memory

GIB = 2**30


@pytest.fixture(autouse=True)
def eight_free(monkeypatch: pytest.MonkeyPatch) -> None:
    available = psutil.virtual_memory()._replace(available=8 * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: available)


def write(root: Path, **files: str) -> Path:
    for name, content in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_without_groups_what_is_free_counts(tmp_path: Path) -> None:
    assert memory(tmp_path) == 8 * GIB


@pytest.mark.parametrize(("inner", "outer"), [(f"{2 * GIB}\n", "max\n"), ("max\n", f"{2 * GIB}\n")])
def test_a_limit_of_the_group_or_of_one_above_counts(
    tmp_path: Path, inner: str, outer: str
) -> None:
    files = {
        "proc__self__cgroup": "0::/job/step\n",
        "sys__fs__cgroup__job__step__memory.max": inner,
        "sys__fs__cgroup__job__memory.max": outer,
    }
    assert memory(write(tmp_path, **files)) == 2 * GIB


def test_version_1_counts_too_and_in_a_container_the_mount_is_the_group(tmp_path: Path) -> None:
    files = {
        "proc__self__cgroup": "9:name=systemd:/\n4:memory:/docker/abc\n2:cpu:/docker/abc\n",
        "sys__fs__cgroup__memory__memory.limit_in_bytes": f"{3 * GIB}\n",
    }
    assert memory(write(tmp_path, **files)) == 3 * GIB


def test_a_limit_above_what_is_free_changes_nothing(tmp_path: Path) -> None:
    files = {
        "proc__self__cgroup": "0::/\n",
        "sys__fs__cgroup__memory.max": f"{64 * GIB}\n",
    }
    assert memory(write(tmp_path, **files)) == 8 * GIB


def test_a_command_that_does_not_end_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = tmp_path / "git"
    waiting.write_text("#!/bin/sh\nexec sleep 60\n")
    waiting.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(environment, "GIT_S", 0.2)
    monkeypatch.setattr(environment, "DVC_S", 0.001)
    for call in (environment.git, environment.git_bytes):
        with pytest.raises(UserError, match=r"`git status` in .* did not end within"):
            call("status", root=tmp_path)
    with pytest.raises(UserError, match="`dvc version` in "):
        environment.dvc("version", root=tmp_path)
