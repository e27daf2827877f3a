"""Every command of `study` and every program of tools/ on a full disk, and on a read-only one.

Each is a process of its own in a trained toy checkout on a small file system (tmpfs) that is first
filled to the last byte before every command, then mounted read-only. Needs root, and Linux.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer.main
from formats.hostile import good_arrays, write_npz

from pipeline.toy import PARAMS, Toy, make_toy
from study.cli import app

pytestmark = [pytest.mark.campaign, pytest.mark.faults, pytest.mark.slow]

SIZE_MB = 400
SCAN = "scan.npz"
# The patterns of this scan are noise: a search could not decide, and nothing would be written.
CONVENTIONS = (
    *("--values", "amplitudes", "--zero-frequency", "centre", "--frame-orientation", "as_stored"),
    *("--position-order", "yx", "--position-flip", "none", "--beam-offset", "0", "0"),
)
# Arguments with which each command has work to do in the toy checkout.
WORDS: dict[str, tuple[str, ...]] = {
    "simulate": ("--out", "elsewhere"),
    "import": (SCAN, "--as", "mine", *CONVENTIONS),
    "export": ("data/toy", "test", "--out", "exported.cxi"),
    "limit": ("data/toy",),
    "train": ("--arm", "cnn"),
    "reconstruct": ("rpie", "data/toy", "--out", "made.npz", "--passes", "2"),
    "diagnose": ("runs/control/s1",),
    "launch": ("cnn",),
    "stop": ("cnn",),
    "retry": ("cnn",),
    "score": ("runs/control/s1/reconstruction.npz", "data/toy/test.npz"),
    "evaluate": ("--arm", "control"),
    "explain": ("control",),
    "record": ("full",),
    "arms show": ("control",),
    "arms diff": ("control", "cnn"),
    "arms check": ("brisk", "--from", "control", "--set", "optimizer.lr=0.002"),
    "arms new": ("brisk", "--from", "control", "--set", "optimizer.lr=0.002"),
    "arms seeds": ("data/toy",),
    "arms extend": ("cnn",),
    "arms archive": ("cnn",),
    "arms rename": ("cnn", "plain_cnn"),
    "trace replay": ("runs/control/s1", "--after", "1"),
    "remote add": ("lab", "elsewhere"),
    "remote key": ("lab", "--user", "me"),
    "findings": (),
    "clean": (),
}
RECORD = "provenance/control/s1.json"
# They wait for a job that never ends here, or serve until they are stopped.
PROGRAMS = (
    ("-m", "study.jobs", "."),
    ("tools/merge_params.py", "params.yaml", "params.yaml", "params.yaml", "params.yaml"),
    ("tools/merge_dvclock.py", "dvc.lock", "dvc.lock", "dvc.lock", "dvc.lock"),
    ("tools/merge_findings.py", "findings.json", "findings.json", "findings.json", "findings.json"),
    ("tools/merge_provenance.py", RECORD, RECORD, RECORD),
)


def commands() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []

    def walk(command: object, names: tuple[str, ...]) -> None:
        below = getattr(command, "commands", None)
        if below is None:
            found.append((*names, *WORDS.get(" ".join(names), ())))
        for name, one in (below or {}).items():
            walk(one, (*names, name))

    walk(typer.main.get_command(app), ())
    return found


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(folder))
    subprocess.run(mount, check=True)
    try:
        yield folder
    finally:
        subprocess.run(("umount", "-l", str(folder)), check=True)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toy]:
    with small_disk(tmp_path_factory.mktemp("disk") / "small") as disk:
        toy = make_toy(disk / "checkout", PARAMS)
        toy.environment |= {"TMPDIR": str(disk), "PYTHONDONTWRITEBYTECODE": "1"}
        (toy.path / SCAN).write_bytes(write_npz(good_arrays("npz")))
        toy.must("dvc", "repro", "-q")
        toy.commit("results: add the first")
        yield toy


def fill(disk: Path) -> Path:
    """Write until nothing fits any more; again after a command that removed something."""
    filler = disk / "filler"
    for size in (1 << 20, 1 << 12, 1):
        with contextlib.suppress(OSError), filler.open("ab", buffering=0) as stream:
            while stream.write(b"0" * size) == size:
                pass
    return filler


def assert_sentences(toy: Toy, before_each: Callable[[], object]) -> None:
    faults = []
    study = [("-m", "study", *words) for words in commands()]
    for words in (*study, *PROGRAMS):
        before_each()
        try:
            done = subprocess.run(
                (sys.executable, *words), cwd=toy.path, env=toy.environment, check=False,
                capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            faults.append(f"{' '.join(words)}: took over 120 s")
            continue
        printed = done.stdout + done.stderr
        if "Traceback" in printed or done.returncode not in (0, 1, 2):
            faults.append(f"{' '.join(words)}: {done.returncode}\n{printed[-1500:]}")
        elif done.returncode == 2 and not done.stderr.strip():
            faults.append(f"{' '.join(words)}: no sentence")
    assert not faults, "\n\n".join(faults)


def test_a_full_disk_is_a_sentence_for_every_command(toy: Toy) -> None:
    filler = toy.path.parent / "filler"
    try:
        assert_sentences(toy, lambda: fill(toy.path.parent))
    finally:
        filler.unlink()
    for words in (["arms", "list"], ["runs"], ["results"], ["doctor"], ["findings"]):
        toy.must(sys.executable, "-m", "study", *words)  # every file is whole, old or new


def test_a_read_only_disk_is_a_sentence_for_every_command(toy: Toy) -> None:
    status = ("git", "--no-optional-locks", "status", "--porcelain")
    before = toy.must(*status)
    disk = str(toy.path.parent)
    subprocess.run(("mount", "-o", "remount,ro", disk), check=True)
    try:
        assert_sentences(toy, lambda: None)
    finally:
        subprocess.run(("mount", "-o", "remount,rw", disk), check=True)
    assert toy.must(*status) == before
