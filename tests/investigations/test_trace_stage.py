"""The trace stage: what is asked for is traced, what cannot be is named before anything runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from study.evidence.arms import load_all
from study.formats.dataset import Dataset, save_dataset
from study.investigations.traces import run as trace
from study.investigations.traces.results import facts, load
from study.runs import write_yaml
from study.runs.recorded import recorded_files
from study.settings import Arm, DataParams, UserError
from study.stages.record import record_results

RUN = {"arm": "control", "seeds": [0], "steps": 6}


@pytest.fixture(autouse=True)
def unsettled(monkeypatch: pytest.MonkeyPatch) -> None:
    """What settles a process that trains would last for all tests."""
    monkeypatch.setattr("study.training.process.settle", lambda: None)


@pytest.fixture
def pipeline(tmp_path: Path, tiny: Dataset, tiny_params: DataParams, control: Arm) -> Path:
    root = tmp_path / "made"
    arms = {"control": control.model_dump(mode="json")}
    content = {"data": {"tiny": tiny_params.model_dump(mode="json")}, "arms": arms}
    write_yaml(root / "params.yaml", content)
    write_yaml(root / "traces.yaml", {"traces": [RUN]})
    save_dataset(tiny, root / "data" / "tiny")
    return root


def test_a_trace_is_stored_whole_with_facts_that_follow_from_it(
    pipeline: Path, tiny: Dataset
) -> None:
    lines = trace.run_traces(pipeline)
    content = load(pipeline / "results" / "traces.json")
    [found] = content["traces"]
    assert {len(column) for column in found["columns"].values()} == {6}
    assert {len(found["by_part"]["largest"][part]) for part in found["parts"]} == {6}
    assert found["facts"] == trace.rounded(facts(found))
    assert content["inputs"]["data"] == {"data/tiny": tiny.manifest.content_sha256}
    assert lines[0].startswith("results/traces.json: 1 runs traced")
    assert lines[1] == content["arms"]["control"]


def test_record_keeps_the_traces_and_readers_of_arms_pass_them_by(pipeline: Path) -> None:
    trace.run_traces(pipeline)
    (pipeline / "results" / "control" / "seeds").mkdir(parents=True)
    assert any("traces.json" in line for line in record_results(pipeline, pipeline.parent))
    (recorded,) = recorded_files(pipeline.parent, "traces.json")
    assert recorded == pipeline / "results" / "traces.json"
    assert load_all(pipeline.parent) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arm": "contrl"}, "'contrl', not a trained arm; did you mean 'control'"),
        ({"seeds": [7]}, "has 7, which control does not run; known: 0"),
        ({"step": 6}, "unknown key traces.0.step; did you mean 'steps'"),
        ({"steps": 0}, "traces.0.steps"),
        ({"steps": 23}, "23 steps are more than the 2 epochs of 11 steps"),
        ({"seeds": [0, 0]}, "arm control with seed 0 stands twice"),
        ({"seeds": []}, "traces.0.seeds"),
    ],
)
def test_what_cannot_be_traced_is_named_before_anything_runs(
    pipeline: Path, change: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_yaml(pipeline / "traces.yaml", {"traces": [{**RUN, **change}]})
    monkeypatch.setattr(trace, "all_traces", lambda *_: pytest.fail("ran"))
    with pytest.raises(UserError) as caught:
        trace.run_traces(pipeline)
    assert message in str(caught.value)
    assert not (pipeline / "results").exists()


def test_a_missing_key_and_an_unknown_section_are_named(pipeline: Path) -> None:
    write_yaml(pipeline / "traces.yaml", {"traces": [{"arm": "control"}], "trace": []})
    with pytest.raises(UserError, match=r"traces\.0\.seeds is missing.*unknown key trace; did"):
        trace.run_traces(pipeline)


def test_data_of_another_request_are_refused(pipeline: Path) -> None:
    file = pipeline / "data" / "tiny" / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["request"]["photons_per_pattern"] = 1e5
    file.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="photons_per_pattern"):
        trace.run_traces(pipeline)


def test_a_stop_leaves_the_file_of_before(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = pipeline / "results" / "traces.json"
    file.parent.mkdir()
    file.write_text("before")

    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("study.investigations.traces.follow.trace_run", stopped)
    with pytest.raises(KeyboardInterrupt):
        trace.run_traces(pipeline)
    assert file.read_text() == "before"
