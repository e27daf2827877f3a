"""A merge driver that gets a damaged file says so, and leaves our file as it was."""

import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
LOCK = "schema: '2.0'\nstages:\n  a:\n    cmd: 'true'\n"
RECORD = {"outputs": {"a": "0" * 64}, "environment": {}}
GOOD = {
    "dvclock": LOCK.encode(),
    "params": b"arms:\n  a:\n    x: 1\n",
    "findings": (ROOT / "findings.json").read_bytes(),
    "provenance": json.dumps(RECORD).encode(),
}
BOMB = b"a0: &a0 [x, x]\n" + b"".join(
    b"a%d: &a%d [*a%d, *a%d, *a%d]\n" % (n, n, *(n - 1,) * 3) for n in range(1, 40)
)
sys.path.insert(0, str(ROOT / "tools"))  # as for a program in this folder
CONTROL = "\x1b]0;taken\x07"
FINDINGS = json.loads(GOOD["findings"])


def changed(**parts: object) -> bytes:
    return json.dumps({**FINDINGS, **parts}).encode()


def entry(**parts: object) -> dict[str, object]:
    name, claim = next(iter(FINDINGS["claims"].items()))
    return {**FINDINGS["claims"], name: {**claim, **parts}}


NOT_TEXT = b"\xff\xfe\x00"
DAMAGED = [
    *(("dvclock", content) for content in (
        NOT_TEXT, b"[1, 2]\n", b"stages: [1]\n", b"stages: text\n", b"text\n", b"a: [\n",
        b"stages: {1: 2}\n", b"stages:\n<<<<<<< ours\n", BOMB, b"[" * 100 + b"]" * 100,
    )),
    *(("findings", content) for content in (
        NOT_TEXT, b"", b"[]", b"{}", b"null", b"[" * 5000, changed(claims=[1]),
        changed(claims={"x": 5}), changed(superseded="x"), changed(arms=None),
        changed(claims=entry(history=5)), changed(claims=entry(history=[5])),
        changed(superseded={"x": {"history": "abc"}}),
    )),
    *(("provenance", content) for content in (
        NOT_TEXT, b"", b"[]", b"{}", b"null", b"{", b"[" * 5000, b'{"outputs": 5}',
        json.dumps({**RECORD, "ended": 5}).encode(),
        json.dumps({**RECORD, "seconds": "x"}).encode(),
    )),
    *(("params", content) for content in (NOT_TEXT, b"x" * 2**21)),
]  # fmt: skip


Merge = Callable[..., tuple[int, str]]


@pytest.fixture
def merge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Merge:
    """Run a driver as a program in this process; its exit code and what it printed."""

    def merge(kind: str, base: bytes, ours: bytes, theirs: bytes) -> tuple[int, str]:
        for name, content in (("base", base), ("ours", ours), ("theirs", theirs)):
            (tmp_path / name).write_bytes(content)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["driver", "base", "ours", "theirs"])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / "tools" / f"merge_{kind}.py"), run_name="__main__")
        return int(str(ended.value.code)), capsys.readouterr().err

    return merge


@pytest.mark.parametrize("kind", GOOD)
def test_sound_files_are_merged(merge, kind):
    code, printed = merge(kind, *[GOOD[kind]] * 3)
    assert code == 0, printed


def test_the_empty_base_of_a_file_that_both_sides_added_is_no_damage(merge):
    assert merge("dvclock", b"", GOOD["dvclock"], GOOD["dvclock"])[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("side", ["ours", "theirs"])
@pytest.mark.parametrize(("kind", "content"), DAMAGED)
def test_a_damaged_side_is_a_sentence(merge, tmp_path, kind, content, side):
    sides = {"base": GOOD[kind], "ours": GOOD[kind], "theirs": GOOD[kind], side: content}
    code, printed = merge(kind, **sides)
    assert code == 2 and printed.startswith(f"merge_{kind}: ") and side in printed
    assert (tmp_path / "ours").read_bytes() == sides["ours"]
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("kind", GOOD)
def test_too_few_files_are_a_sentence(tmp_path, kind):
    command = (sys.executable, ROOT / "tools" / f"merge_{kind}.py", "base")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "BASE OURS THEIRS" in done.stderr
    assert "Traceback" not in done.stderr


def test_control_codes_of_names_are_not_printed(merge):
    named = f"control: &c\n  x: 1\narms:\n  a:\n    <<: *c\n  {json.dumps(CONTROL)}:\n    <<: *c\n"
    theirs = named.replace("x: 1", "x: 2")
    ours = f"{named}    y: 1\n"
    code, printed = merge("params", named.encode(), ours.encode(), theirs.encode())
    assert code == 0 and "taken" in printed
    assert "\x1b" not in printed and "\x07" not in printed


def test_arms_that_are_not_named_by_text_are_reported(merge):
    named = "control: &c\n  x: 1\narms:\n  a: {}\n  7:\n    <<: *c\n"
    theirs = named.replace("x: 1", "x: 2")
    code, printed = merge("params", named.encode(), f"{named}    y: 1\n".encode(), theirs.encode())
    assert code == 0 and "7 follow the merged settings" in printed
