"""Checkouts for the pages: stored results by hand, as tests/evidence/stored.py makes them.

one_run               control, one seed
two_by_three          control and agc, three seeds each, one claim with its finding
troubled              agc: one seed failed (its loss NaN), one collapsed, one fine
two_data_sets         agc ran on other data than the control
reconstructed         control, better, dead (constant), lost (failed) and flat, three seeds each,
                      with runs, objects and data as tests/report/made.py makes them
"""

from __future__ import annotations

import functools
import json
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import made
import pandas
import stored
from streamlit.testing.v1 import AppTest

from study.evidence.claims import load_claims
from study.evidence.findings import build
from study.evidence.scores import score_run
from study.formats.dataset import Dataset, save_dataset
from study.runs import RunFolder, write_json, write_text, write_yaml
from study.settings import Arm, Reference, Row, Study, load_study

ROOT = Path(__file__).parent.parent.parent
FIRST_STUDY = ROOT / "tests" / "first_study"
SEEDS = (1, 2, 3)
GATE = {"evaluable": False, "reason": "constant amplitude", "spread_ratio": 0.0}


def opened(page: str, **query: str | list[str]) -> AppTest:
    """A page by the way a user comes to it (main.py, then the navigation), with its address."""
    app = AppTest.from_file(str(ROOT / "app" / "script.py"), default_timeout=120)
    if page != "summary":
        app.run()
        app.switch_page(f"pages/{page}.py")
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


def rendered(text: object) -> str:
    """Markdown as a reader sees it, as far as escapes go."""
    return re.sub(r"\\([^a-zA-Z0-9\s])", r"\1", str(text)).replace("\u2060", "")


def once(make: Callable[[Path], Study]) -> Callable[[Path], Study]:
    """`make` runs for the first call of a process; every call writes the files that it made."""

    @functools.cache
    def made_files() -> tuple[Study, dict[str, bytes]]:
        with tempfile.TemporaryDirectory() as scratch:
            root = Path(scratch)
            study = make(root)
            files = {path for path in root.rglob("*") if path.is_file()}
            return study, {path.relative_to(root).as_posix(): path.read_bytes() for path in files}

    @functools.wraps(make)
    def written(root: Path) -> Study:
        study, files = made_files()
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        return study

    return written


def settings(root: Path, **arms: Mapping[str, Any]) -> Study:
    """params.yaml with these arms on the data set `tiny` (the root study's quick one)."""
    data = load_study(FIRST_STUDY / "params.yaml").data["quick"].model_dump(mode="json")
    write_yaml(root / "params.yaml", {"data": {"tiny": data}, "arms": arms})
    return load_study(root / "params.yaml")


def store(root: Path, study: Study, name: str, values: Sequence[float], **facts: Any) -> None:
    """The seeds of an arm and a history of two epochs each."""
    stored.store(root, study, name, values, **facts)
    lines = [f"{seed},{epoch},{value / 10}" for seed, value in zip(SEEDS, values, strict=False)
             for epoch in (1, 2)]  # fmt: skip
    write_text(root / "results" / name / "history.csv", "\n".join(["seed,epoch,val_loss", *lines]))


def change(root: Path, name: str, seed: int, **facts: Any) -> None:
    """Replace dotted entries (dots as double underscores) of one stored seed."""
    file = root / "results" / name / "seeds" / f"s{seed}.json"
    content = json.loads(file.read_text())
    for path, value in facts.items():
        content = stored._replaced(content, path.split("__"), value)
    write_json(file, content)


@once
def one_run(root: Path) -> Study:
    study = settings(root, control=stored.arm(seeds=[1]))
    store(root, study, "control", stored.CONTROL)
    return study


@once
def two_by_three(root: Path) -> Study:
    study = settings(
        root, control=stored.arm(seeds=SEEDS), agc=stored.arm("control", SEEDS, clip=stored.AGC)
    )
    store(root, study, "control", stored.CONTROL[:3])
    store(root, study, "agc", stored.WORSE[:3])
    judge(root, study, **{"AGC-001": stored.claim()})
    return study


@once
def troubled(root: Path) -> Study:
    """Two arms x three seeds, of which agc failed once (NaN), collapsed once, and ran once."""
    study = two_by_three(root)
    nan = {"val_loss": None, "skill": None}
    last = json.loads((root / "results/agc/seeds/s1.json").read_text())["last"]
    change(root, "agc", 1, outcome="failed", state="failed", cause="loss is NaN at epoch 1",
           last={**last, **nan, "standard": None, "published": None})  # fmt: skip
    blank = {"mae": None, "ssim": None, "frc50": None}
    change(root, "agc", 2, outcome="collapsed", cause="last object: constant amplitude",
           last__gate__amplitude=GATE, last__standard__amplitude=blank)  # fmt: skip
    judge(root, study, **{"AGC-001": stored.claim()})
    return study


@once
def two_data_sets(root: Path) -> Study:
    study = two_by_three(root)
    for seed in SEEDS:
        change(root, "agc", seed, data__sha256="e" * 64, data__path="data/other")
    return study


def judge(root: Path, study: Study, **claims: Mapping[str, Any]) -> dict[str, Any]:
    """claims.yaml and the findings of what is stored."""
    write_yaml(root / "claims.yaml", {"claims": claims})
    book = load_claims(root / "claims.yaml")
    found = build(root, book, study, None).content()
    write_json(root / "findings.json", found)
    return found


def reconstructed(root: Path, dataset: Dataset, control: Arm) -> Study:
    """Runs with objects: `better` changes the clip, `dead` and `lost` the learning rate."""
    save_dataset(dataset, root / "data" / "tiny")
    base = control.model_copy(update={"seeds": made.SEEDS})
    against = {"versus": "control", "changes": ("optimizer.lr",)}
    rates = {"better": 2e-3, "dead": 2e-2, "lost": 3e-2}
    rows: dict[str, Row] = {"control": base}
    for name, rate in rates.items():
        optimizer = base.optimizer.model_copy(update={"lr": rate})
        rows[name] = base.model_copy(update={**against, "optimizer": optimizer})
    prose = {"asks": "What does it score?", "versus": None, "changes": ()}
    flat = {**prose, "data": "data/tiny", "source": {"name": "flat"}}
    rows["flat"] = Reference.model_validate(flat)
    for name, row in rows.items():
        _score(root, name, row, dataset)
    write_yaml(root / "params.yaml", _written(rows, dataset))
    return load_study(root / "params.yaml")


def _score(root: Path, name: str, row: Row, dataset: Dataset) -> None:
    for seed in row.seeds:
        run = RunFolder(root / "runs" / name / f"s{seed}")
        made._run(run, name, seed, row, dataset)
        content = score_run(name, row, seed, run, dataset)
        write_json(root / "results" / name / "seeds" / f"s{seed}.json", content)
    if isinstance(row, Arm):
        tables = [made._history(name, seed).assign(seed=seed) for seed in row.seeds]
        text = pandas.concat(tables).to_csv(index=False)
        write_text(root / "results" / name / "history.csv", text)


def _written(rows: Mapping[str, Row], dataset: Dataset) -> dict[str, Any]:
    """params.yaml as it is written: the options of a network stand beside its name."""
    blocks = {}
    for name, row in rows.items():
        block = row.model_dump(mode="json")
        if isinstance(row, Arm):
            block["generator"] |= block["generator"].pop("options")
        blocks[name] = block
    return {"data": {"tiny": dict(dataset.manifest.request)}, "arms": blocks}
