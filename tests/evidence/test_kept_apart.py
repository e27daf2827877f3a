"""Provenance: apart from the outputs, written once, of the outputs that it names alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import stored
from hypothesis import given, settings
from hypothesis import strategies as st

from study.artifacts.integrity import integrity_lines
from study.evidence.arms import load_all, read_seed
from study.evidence.explain import explain
from study.reading import hash_of_file, read_table
from study.runs import RunFolder, provenance, read_json, write_json, write_text
from study.runs.collect import collect
from study.settings import Arm, UserError
from study.stages.record import record_results

ENVIRONMENT = {"commit": "a" * 40, "commit_date": "2026-01-01T00:00:00+00:00", "dirty": False,
               "device": "cpu", "cores": 2, "versions": {"torch": "2.13.0"}}  # fmt: skip


LOSS = "control/s1/last.val_loss"
ROW = Arm.model_validate(stored.arm(seeds=[1]))


def live(folder: Path, seconds: float, started: float, **environment: Any) -> RunFolder:
    """A finished run; all that a second run of the same settings may differ in is an argument."""
    run = RunFolder(folder)
    write_json(run.path / "environment.json", {**ENVIRONMENT, **environment})
    run.start("control", 1, 2, {"data_sha256": "d"})
    run.write_history(
        [
            {"epoch": i, "val_loss": 0.1 / i, "seconds": seconds, "peak_memory_mib": 100 * seconds}
            for i in (1, 2)
        ]
    )
    run.event("collapse", epoch=1)
    run.log(f"{seconds} s")
    write_text(run.best, "weights")
    run.finish("finished", val_loss=0.05)
    run.update_status(started=started)
    return run


def scored(root: Path, arm: str = "control", seed: int = 1) -> Path:
    """A result whose evidence is the collected run, as `score_arm` writes it."""
    run = root / "runs" / arm / f"s{seed}"
    files = ("history.csv", "best.pt")
    content = stored.seed_json(arm, ROW, seed, 0.1)
    content["code"] = {"fingerprint": "f"}
    content["evidence"] = {f"runs/{arm}/s{seed}/{name}": hash_of_file(run / name) for name in files}
    for key in ("device", "cores"):
        content.pop(key, None)
    content["training"].pop("seconds", None)
    file = root / "results" / arm / "seeds" / f"s{seed}.json"
    write_json(file, content)
    return file


def contents(folder: Path) -> dict[str, bytes]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


@settings(max_examples=10, deadline=None)
@given(
    seconds=st.floats(0.1, 1e4),
    started=st.floats(1.0, 2e9),
    changes=st.fixed_dictionaries({"commit": st.sampled_from(["b" * 40, None]),
                                   "processor": st.text(max_size=9)}),
    resumed=st.booleans(),
)  # fmt: skip
def test_outputs_are_equal_whatever_the_clock_and_the_machine_say(
    tmp_path_factory: pytest.TempPathFactory,
    seconds: float,
    started: float,
    changes: dict[str, Any],
    resumed: bool,
) -> None:
    root = tmp_path_factory.mktemp("two")
    first, second = (
        live(root / "work/a", 1.0, 1.0),
        live(root / "work/b", seconds, started, **changes),
    )
    if resumed:
        second.event("resumed", epoch=1, steps=0)
        second.event("collapse", epoch=1)  # the repeated epoch
    collect([(1, first)], root / "one/runs/control")
    collect([(1, second)], root / "two/runs/control")
    assert contents(root / "one/runs") == contents(root / "two/runs")
    known = provenance.read_provenance(root / "two/provenance/control/s1.json")
    assert known is not None and known.environment.commit == changes["commit"]
    assert known.seconds == pytest.approx(2 * seconds, rel=1e-9)
    assert known.peak_memory_mib == pytest.approx(100 * seconds, rel=1e-9)
    assert known.resumed == resumed
    assert known.outputs == provenance.hashes(root / "two/runs/control/s1")


def test_a_repetition_keeps_the_record_and_other_outputs_replace_it(tmp_path: Path) -> None:
    out, file = tmp_path / "runs/control", tmp_path / "provenance/control/s1.json"
    collect([(1, live(tmp_path / "work/a", 1.0, 1.0))], out)
    before = file.read_bytes()
    collect([(1, live(tmp_path / "work/b", 9.0, 2.0, commit="b" * 40))], out)
    assert file.read_bytes() == before
    collect([(1, RunFolder(out / "s1"))], out)  # pulled, or found again
    assert file.read_bytes() == before
    other = live(tmp_path / "work/c", 9.0, 2.0, commit="b" * 40)
    write_text(other.best, "other weights")
    collect([(1, other)], out)
    known = provenance.read_provenance(file)
    assert known is not None and known.environment.commit == "b" * 40 and known.seconds == 18.0


def test_a_result_gets_back_what_it_is_stored_without(tmp_path: Path) -> None:
    collect([(1, live(tmp_path / "work/a", 1.5, 1.0))], tmp_path / "runs/control")
    found = read_seed(scored(tmp_path))
    assert found["code"] == {"fingerprint": "f", "commit": "a" * 40, "dirty": False,
                             "commit_date": ENVIRONMENT["commit_date"]}  # fmt: skip
    assert (found["device"], found["cores"]) == ("cpu", 2)
    assert found["training"]["seconds"] == 3.0
    message = explain("control/s1/training.seconds", tmp_path)
    assert message.value == 3.0
    assert "provenance/control/s1.json" in dict(message.inputs)
    assert "provenance/control/s1.json" not in dict(explain(LOSS, tmp_path).inputs)
    assert all(fine for _, fine in integrity_lines(tmp_path))


def test_provenance_of_other_outputs_says_nothing(tmp_path: Path) -> None:
    collect([(1, live(tmp_path / "work/a", 1.0, 1.0))], tmp_path / "runs/control")
    file = scored(tmp_path)
    kept = tmp_path / "provenance/control/s1.json"
    content = read_json(kept)
    content["outputs"]["best.pt"] = "0" * 64
    write_json(kept, content)
    assert read_seed(file)["code"]["commit"] is None
    assert [fine for _, fine in integrity_lines(tmp_path)] == [False]
    kept.unlink()
    assert read_seed(file)["code"]["commit"] is None
    assert [fine for _, fine in integrity_lines(tmp_path)] == [False]


def test_a_result_of_an_earlier_version_is_read_as_it_is(tmp_path: Path) -> None:
    content = stored.seed_json("control", ROW, 1, 0.1)
    content["code"] |= {"commit": "c" * 40, "dirty": True}
    file = tmp_path / "results/control/seeds/s1.json"
    write_json(file, content)
    collect([(1, live(tmp_path / "work/a", 1.0, 1.0))], tmp_path / "runs/control")
    found = read_seed(file)
    assert found["code"] == content["code"] and found["training"] == content["training"]


def test_a_run_of_an_earlier_version_is_split_when_it_is_collected(tmp_path: Path) -> None:
    new = live(tmp_path / "work/a", 1.5, 1.0)
    old = live(tmp_path / "runs/control/s1", 1.5, 1.0)
    timing = old.timing()
    table = old.history().assign(**{name: timing[name] for name in timing if name != "epoch"})
    write_text(old.history_file, table.to_csv(index=False))
    old.timing_file.unlink()
    collect([(1, old)], tmp_path / "runs/control")
    collect([(1, new)], tmp_path / "other/runs/control")
    assert contents(tmp_path / "runs") == contents(tmp_path / "other/runs")
    kept = [read_json(tmp_path / place / "provenance/control/s1.json") for place in (".", "other")]
    assert {**kept[0], "ended": ""} == {**kept[1], "ended": ""}


def test_a_recorded_result_has_the_provenance_of_its_pipeline(tmp_path: Path) -> None:
    for place in ("top/studies", "elsewhere/studies"):
        root = tmp_path / place
        collect([(1, live(root / "work/a", 1.0, 1.0))], root / "runs/control")
        scored(root)
    for pipeline in ("top/studies", "elsewhere/studies"):
        record_results(tmp_path / pipeline, (tmp_path / pipeline).parent)
        arms = load_all((tmp_path / pipeline).parent)
        assert arms["studies/control"].seeds[1]["code"]["commit"] == "a" * 40
    record_results(tmp_path / "elsewhere/studies", tmp_path / "third")
    arms = load_all(tmp_path / "third")
    assert arms["studies/control"].seeds[1]["code"]["commit"] == "a" * 40
    assert arms["studies/control"].known_seeds == (1,)


@pytest.mark.parametrize(
    "content", ["[]", "{", "{}", '{"outputs": {"a": 1}, "environment": {}}',
                '{"outputs": {}, "environment": {"dirty": "no"}}']
)  # fmt: skip
def test_a_damaged_file_is_a_sentence(tmp_path: Path, content: str) -> None:
    file = tmp_path / "s1.json"
    file.write_text(content)
    with pytest.raises(UserError, match=r"s1\.json"):
        provenance.read_provenance(file)


def test_the_timing_of_an_epoch_is_not_in_its_history(tmp_path: Path) -> None:
    run = live(tmp_path / "work/a", 1.5, 1.0)
    assert list(run.history()) == ["epoch", "val_loss"]
    assert list(run.timing()["seconds"]) == [1.5, 1.5]
    assert "seconds" not in read_table(run.history_file)
