"""Damaged settings and stored files, drawn from a seed: a sentence and exit code 2, never a
traceback, a hang, or a lost file; and pages that show the rest.

The first mutations of each kind run with the normal tests; the marker `faults` runs the campaign.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from checkouts import opened, rendered, two_by_three
from ruamel.yaml import YAML

from pipeline.toy import PARAMS
from study import cli
from study.evidence.arms import load_all
from study.jobs import rows
from study.jobs.models import JOB_ID
from study.runs import RunFolder, write_json, write_text, write_yaml
from study.settings import UserError
from study.stages.record import record_results

STUDIES = Path(__file__).parent.parent.parent / "studies"
SECONDS = 120.0  # the slowest of these commands takes seconds, with its imports on a busy machine
BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)
MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{','.join([f'*a{i - 1}'] * 9)}], k{i}: 1}}\n" for i in range(1, 10)
)
SCALARS = (
    None, True, -1, 0, 1, 10**30, -(10**18), 0.5, 1e308, float("nan"), float("inf"), 1e22, 10**9,
    "", "x" * 100_000, "\x1b[31mred", "../../etc/passwd", "1", "$HOME", [], {}, [1] * 5000,
    {"name": "adam"}, [[[[[[[[]]]]]]]], {"a": {"b": {"c": None}}}, ["a", 1, None], "data/toy",
)  # fmt: skip
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("arms", "list"),
    ("arms", "show", "control"),
    ("arms", "new", "m1", "--from", "control", "--set", "epochs=3"),
    ("arms", "archive", "cnn"),
    ("plan",),
    ("runs",),
    ("results",),
    ("findings",),
    ("explain", "control/mean/last.val_loss"),
    ("clean", "--dry"),
    ("train", "--arm", "control", "--estimate"),
)


# --- mutations --------------------------------------------------------------------------------


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every entry below `value`."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*path, key)
        if isinstance(item, (dict, list)):
            yield from places(item, (*path, key))


def changed(value: Any, draw: random.Random) -> Any:
    """`value` with one entry replaced, removed or renamed."""
    *parents, last = draw.choice(list(places(value)))
    holder = value
    for key in parents:
        holder = holder[key]
    how = draw.random()
    if how < 0.7 or isinstance(holder, list):
        holder[last] = draw.choice(SCALARS)
    elif how < 0.85:
        del holder[last]
    else:
        holder[draw.choice((7, None, "", "é", "x" * 1000, f"{last}x"))] = holder.pop(last)
    return value


def broken_bytes(content: bytes, draw: random.Random) -> bytes:
    """Text that is damaged as disks, editors and attackers do it."""
    at = draw.randrange(len(content) + 1)
    parts: tuple[bytes, ...] = (
        b"\xff", b"\x00", b"\x1b]0;x\x07", b"\xef\xbb\xbf", b"[" * 5000, b"{" * 5000, b"- " * 3000,
        b"9" * 5000, b" 0x" + b"f" * 5000, b"1e999", b"NaN", b"*none", b"&a [*a]", b"\t\t", b"'",
        b'"', b"<<<<<<< HEAD\n", b"!!python/object:os.system x", b"? [a]: b", b"2001-99-99",
        b'"\\ud800"', b",,,,\n", b"%", b"---\n", b"\r", b"null",
    )  # fmt: skip
    how = draw.random()
    if how < 0.2:
        return content[:at]
    if how < 0.4 and content:
        return content[:at] + bytes([draw.randrange(256)]) + content[at + 1 :]
    return content[:at] + draw.choice(parts) + content[at:]


def as_another_kind(file: Path, draw: random.Random) -> None:
    """A folder, a pipe or a link to a device in place of a file."""
    file.unlink()
    how = draw.randrange(4)
    if how == 0:
        file.mkdir()
    elif how == 1:
        os.mkfifo(file)
    elif how == 2:
        file.symlink_to("/dev/zero")
    else:
        file.symlink_to(file.name)


def mutate(file: Path, draw: random.Random) -> None:
    """Damage a JSON, YAML, CSV or other file."""
    how, content = draw.random(), file.read_bytes()
    if how < 0.08:
        as_another_kind(file, draw)
    elif how < 0.5 or not (file.suffix in (".json", ".yaml", ".dvc") or file.name == "dvc.lock"):
        file.write_bytes(broken_bytes(content, draw))
    elif file.suffix == ".json":
        value = changed(json.loads(content), draw)
        file.write_text(json.dumps(value, allow_nan=True))
    else:
        value = changed(YAML(typ="safe", pure=True).load(content.decode()), draw)
        with file.open("w") as stream:
            YAML(typ="safe", pure=True).dump(value, stream)


# --- what is asked ----------------------------------------------------------------------------


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run `study ARGUMENTS` in this process; the law of every command holds. Returns stderr."""

    # No supervisor, and no process that trains or pulls.
    monkeypatch.setattr("study.jobs.api.ensure", lambda root: None)

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["study", *arguments])
        began = time.monotonic()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert time.monotonic() - began < SECONDS
        errors = capsys.readouterr().err
        assert (ended.value.code or 0) in (0, 1, 2) and "Traceback" not in errors
        assert ended.value.code != 2 or errors.strip()
        assert len(errors) < 20_000 and "weights_only" not in errors
        return errors

    return run


def names(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.suffix not in (".lock", ".tmp") and not path.is_dir()
    }


def settings_survive(seed: int, fresh: Path, call: Callable[..., str]) -> None:
    draw = random.Random(seed)
    (fresh / "params.yaml").write_text(PARAMS)
    (fresh / "claims.yaml").write_text("claims: {}\n")
    file = fresh / "params.yaml"
    if seed % 25 in (0, 1):
        file.write_text((BOMB if seed % 25 else MERGE_BOMB) + PARAMS + "\nstudies: *a9\n")
    else:
        mutate(file, draw)
    before = None if not file.is_file() else file.read_bytes()
    for command in draw.sample(COMMANDS, 3):
        errors = call(*command)
        if before is not None and errors and command[0] == "arms":
            assert file.read_bytes() == before or command[1] in ("new", "archive")
        if not file.exists() and not file.is_symlink():
            raise AssertionError("params.yaml was lost")
        if before is not None and file.read_bytes() != before:
            break  # a command that was accepted wrote it
    with_sentence(lambda: rows.run_rows(fresh))


def with_sentence(read: Callable[[], object]) -> None:
    try:
        read()
    except UserError as error:
        assert str(error)


STORED = (
    "results/*/seeds/*.json", "results/*/history.csv", "*/results/*/seeds/*.json",
    "*/results/*/history.csv", "runs/*/*/status.json", "runs/*/*/history.csv",
    "*/runs/*/*/status.json", "runs/*/*/environment.json", "*/recorded.json",
    "provenance/*/*.json", "data/*/manifest.json", "*/data/*/manifest.json", "findings.json",
    "claims.yaml",
    "work/launch/jobs/*.json", "work/pull/*.json", "launch.yaml", "dvc.lock", "dvc.yaml",
    "data.dvc", "imported/*.dvc", "requirements*", "runs/*/*/diagnostics/*.jsonl",
    "studies/params.yaml", "fingerprints/*.json", "results/traces.json", "results/regimes.json",
    "results/stability/*.json", "imported/*/manifest.json", "work/*/status.json",
    "work/*/environment.json", "work/*/timing.csv", "work/*/events.jsonl", "runs/*/*/params.yaml",
    "other/recorded.json", "other/results/*/seeds/*.json", "other/results/*/history.csv",
)  # fmt: skip
PAGES = ("summary", "arms", "runs", "compare", "findings", "dataset", "provenance", "new_arm")
STORED_COMMANDS = (
    ("runs",),
    ("results",),
    ("findings",),
    ("explain", "control/mean/last.val_loss"),
    ("evaluate", "--arm", "control"),
    ("report", "--out", "out"),
    ("pull", "control"),
    ("plan",),
    ("clean", "--dry"),
    ("record", "other"),
    ("verify",),
    ("diagnose", "runs/control/s101"),
    ("score", "runs/control/s101/object_last.npz", "runs/control/s102/object_last.npz"),
    ("reconstruct", "rpie", "data/tiny", "--out", "made.npz", "--passes", "1"),
    ("reconstruct", "runs/control/s101", "data/tiny", "--out", "made.npz"),
    ("export", "data/tiny", "test", "--out", "made.cxi"),
    ("publish",),
    ("launch", "control"),
    ("trace", "show"),
    ("trace", "run"),
    ("regimes", "show"),
    ("regimes", "run"),
    ("stability",),
    ("arms", "extend", "control", "--seeds", "50"),
)


JOB = "20260101-120000-000000-control-0a0b"


def more_files(root: Path) -> None:
    """The kinds of stored files that the checkout of the pages lacks."""
    write_yaml(root / "launch.yaml", {"slurm": {"at_once": 2, "resources": {"minutes": 30}}})
    (root / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  train@control:\n    cmd: x\n    deps:\n    - path: data/tiny\n"
        f"      md5: {'a' * 32}.dir\n      size: 5\n      nfiles: 2\n    params:\n"
        f"      params.yaml:\n        arms.control: {{a: 1}}\n    outs:\n"
        f"    - path: runs/control\n      md5: {'b' * 32}.dir\n      size: 9\n      nfiles: 3\n"
    )
    (root / "imported").mkdir(exist_ok=True)
    for name, path in (("data.dvc", "data"), ("imported/set.dvc", "set")):
        (root / name).write_text(f"outs:\n- path: {path}\n  md5: {'c' * 32}.dir\n  size: 1\n")
    for name in ("requirements-cpu.txt", "requirements.lock"):
        (root / name).write_text("numpy==1.0\n")
    (root / "dvc.yaml").write_text(
        "stages:\n  train:\n    foreach: ${arms}\n    do:\n      cmd: study train --arm ${key}\n"
        '      deps: [data/tiny]\n      outs: [{"runs/${key}": {persist: true}}]\n'
    )
    job = {"id": JOB, "arm": "control", "seeds": [1], "executor": "local",
           "created": 1.0, "state": "failed", "cause": "x"}  # fmt: skip
    for name, content in (
        ("launch/jobs", job),
        ("pull", {"names": ["control"], "state": "failed"}),
    ):
        folder = root / "work" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{job['id']}.json").write_text(json.dumps(content))
    assert JOB_ID.fullmatch(JOB), "otherwise the file is no job"
    results_of_others(root)


def results_of_others(root: Path) -> None:
    """Those of investigations, of a pipeline below, of an import, and a live run."""
    (root / "results" / "stability").mkdir()
    for name in ("traces.json", "regimes.json", "stability/plain_clip.json"):
        shutil.copy(STUDIES / "results" / name, root / "results" / name)
    for part in ("results", "runs"):
        shutil.copytree(root / part / "control", root / "other" / part / "control")
    record_results(root / "other", root)
    (root / "imported" / "scan").mkdir(parents=True)
    shutil.copy(root / "data" / "tiny" / "manifest.json", root / "imported" / "scan")
    (root / "fingerprints").mkdir()
    (root / "fingerprints" / "control.json").write_text('{"history": {"epoch": [1]}}')
    live = RunFolder(Path(shutil.copytree(root / "runs/control/s101", root / "work/one")))
    live.event("resumed", epoch=1)
    write_text(live.timing_file, "epoch,seconds,peak_memory_mib\n1,0.5,100\n2,0.4,120\n")
    write_json(live.path / "environment.json", {"commit": "c", "dirty": False, "device": "cpu"})


def stored_files_survive(seed: int, root: Path, call: Callable[..., str]) -> None:
    draw = random.Random(seed)
    more_files(root)
    kinds = [sorted(root.glob(pattern)) for pattern in STORED]
    file = draw.choice(draw.choice([files for files in kinds if files]))
    mutate(file, draw)
    before = names(root)
    call(*draw.choice(STORED_COMMANDS))
    for page in draw.sample(PAGES, 2):
        opened(page)
    with_sentence(lambda: load_all(root))
    assert not before - names(root) - {"findings.json", "findings.md"}


# --- the laws ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_damaged_settings_are_a_sentence(seed: int, fresh: Path, call: Callable[..., str]) -> None:
    settings_survive(seed, fresh, call)


@pytest.mark.parametrize("command", [("arms", "archive", "agc"), ("arms", "list")])
def test_a_link_to_itself_is_a_sentence(
    command: tuple[str, ...], fresh: Path, call: Callable[..., str]
) -> None:
    (fresh / "params.yaml").symlink_to("params.yaml")
    assert "params.yaml" in call(*command)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_damaged_stored_files_are_a_sentence(
    seed: int, runs: Path, call: Callable[..., str]
) -> None:
    stored_files_survive(seed, runs, call)


@pytest.mark.campaign
@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(300))
def test_campaign_of_damaged_settings(seed: int, fresh: Path, call: Callable[..., str]) -> None:
    settings_survive(1000 + seed, fresh, call)


@pytest.mark.campaign
@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100))
def test_campaign_of_damaged_stored_files(seed: int, runs: Path, call: Callable[..., str]) -> None:
    stored_files_survive(1000 + seed, runs, call)


@pytest.mark.parametrize("kind", ["seed", "findings", "claims", "studies"])
def test_a_page_shows_the_rest(kind: str, runs: Path) -> None:
    if kind == "claims":
        two_by_three(runs)
    file = {
        "seed": sorted(runs.glob("r*/**/better/seeds/s*.json"))[0],
        "findings": runs / "findings.json",
        "claims": runs / "claims.yaml",
        "studies": runs / "studies" / "params.yaml",
    }[kind]
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"\xff" if kind != "seed" else file.read_bytes()[:-20])
    app = opened("arms")
    assert any(file.name in error.value for error in app.error)
    table = json.loads(app.get("bidi_component")[0].proto.json)
    arms = [row["arm"] for fence in table["fences"] for row in fence["rows"]]
    assert any(arm.endswith("control") for arm in arms)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("data.dvc", "size: 1", "size: null"),
        ("data.dvc", "size: 1", "size: many"),
        ("data.dvc", "size: 1", "nfiles: 2.5"),
        ("imported/set.dvc", "size: 1", "size: -1"),
        ("imported/set.dvc", "path: set", f"path: {'x' * 5000}"),
        ("imported/set.dvc", "outs:", "deps: 3\nouts:"),
        ("dvc.lock", "params.yaml:\n        arms.control: {a: 1}", "- params.yaml"),
        ("dvc.lock", "path: data/tiny", f"path: {'x' * 5000}"),
        ("dvc.yaml", "    do:\n", "    don't:\n"),
        ("dvc.yaml", "    do:\n", "    do: [x]\n    not:\n"),
        ("dvc.yaml", '[{"runs/${key}": {persist: true}}]', "[{}]"),
        ("dvc.yaml", "{persist: true}", "persist"),
        ("dvc.yaml", "{persist: true}", "{cache: maybe}"),
        ("dvc.yaml", "deps: [data/tiny]", "deps: 3"),
        ("dvc.yaml", "deps: [data/tiny]", "params: [{params.yaml: 3}]"),
        ("dvc.yaml", "cmd: study train --arm ${key}", "cmd: {a: b}"),
    ],
)
def test_a_damaged_pipeline_is_a_sentence(
    name: str, old: str, new: str, runs: Path, call: Callable[..., str]
) -> None:
    more_files(runs)
    text = (runs / name).read_text()
    assert old in text
    (runs / name).write_text(text.replace(old, new))
    if name != "dvc.lock":  # its inputs and settings are read by the page alone
        assert name in call("pull", "control")
    app = opened("provenance")
    [told] = [rendered(error.value) for error in app.error]
    assert Path(name).name in told and ("git checkout" in told or "accepted" in told)
    heads = [head.value for head in app.subheader]
    assert heads[-1] == "This installation" and "Commits of the results" in heads


def test_damaged_requirements_hide_no_versions(runs: Path) -> None:
    for name in ("requirements-cpu.txt", "requirements.lock"):
        (runs / name).write_bytes(b"numpy==\xff\n")
    app = opened("provenance")
    [told] = [rendered(error.value) for error in app.error]
    assert "requirements" in told and "not UTF-8" in told
    assert any("package" in table.value for table in app.dataframe)


def test_aliases_and_merge_keys_are_read(fresh: Path, call: Callable[..., str]) -> None:
    (fresh / "params.yaml").write_text(PARAMS)  # `control: &arm` and `<<: *arm`
    assert call("arms", "list") == ""
