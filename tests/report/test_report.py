"""The report tells what the findings hold, in one file, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import made
import pandas
import pytest
import reading
from jinja2 import UndefinedError
from rocrate.rocrate import ROCrate

from checking import list_recorded
from study.evidence.explain import explain
from study.evidence.format import fmt
from study.evidence.model import parse
from study.investigations.published.section import SECTIONS as PUBLISHED
from study.reading import hash_of_file
from study.report import sections
from study.report.build import write_report
from study.report.figures.style import styled
from study.report.gather import Inputs, gather
from study.report.page import render_page
from study.settings import UserError

ROOT = Path(__file__).parents[2]
EXPLAINED = re.compile(r"[\w/-]+/((mean|difference)/[\w.]+|effect)")


def test_the_page_is_one_file_that_asks_for_no_other(report):
    page = reading.read(report / "report.html")
    text = (report / "report.html").read_text()
    assert not re.search(r"https?://|@import", text)
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in page.tags}
    for tag, facts in page.tags:
        for key in ("src", "href", "xlink:href"):
            assert (facts.get(key) or "#").startswith(("#", "data:image/png")), f"<{tag} {key}>"


def test_ids_are_unique_and_every_reference_hits_one(report):
    page = reading.read(report / "report.html")
    ids = [facts["id"] for _, facts in page.tags if "id" in facts]
    assert len(ids) == len(set(ids))
    text = (report / "report.html").read_text()
    wanted = set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text))
    assert wanted and wanted <= set(ids)


def test_every_claim_stands_once_in_the_verdicts_with_its_status(pipeline, report):
    claims = json.loads((pipeline / "findings.json").read_text())["claims"]
    rows = reading.read(report / "report.html").rows
    for name, entry in claims.items():
        found = [row for row in rows if row and row[0].startswith(f"{name}: ")]
        assert [row[1] for row in found] == [entry["status"]]


def test_numbers_are_those_of_findings_json(pipeline, report):
    findings = json.loads((pipeline / "findings.json").read_text())
    known = {
        facts["id"]: facts["estimate"]
        for arm in findings["arms"].values()
        for facts in arm["numbers"].values()
    }
    shown = [(n, t) for n, t in reading.read(report / "report.html").numbers if n in known]
    assert len({name for name, _ in shown}) > 20
    for name, text in shown:
        wanted = {fmt(known[name], digits).replace("-", "−") for digits in (2, 3)}
        assert text.strip() in wanted, name


def test_every_number_says_where_it_comes_from(report):
    for name, text in reading.read(report / "report.html").numbers:
        assert text.strip() and name, text


@pytest.mark.slow
def test_ids_on_the_page_of_this_study_are_known_to_explain(tmp_path):
    for name in ("findings.json", "claims.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    for folder in ("results", "provenance"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    write_report(tmp_path, tmp_path / "report")
    numbers = reading.read(tmp_path / "report" / "report.html").numbers
    asked = dict.fromkeys((name, text) for name, text in numbers if EXPLAINED.fullmatch(name))
    assert len(asked) > 20
    for name, text in list(asked)[::9]:
        value = explain(name, tmp_path).value
        assert text.strip() in {fmt(value, d).replace("-", "−") for d in (2, 3)}, name


def test_a_degenerate_arm_is_not_evaluable_and_never_scored(report):
    rows = [row for row in reading.read(report / "report.html").rows if row[0].startswith("dead")]
    scored = [row for row in rows if len(row) == 10]
    assert scored
    for row in scored:
        assert row[2:6] == ["not evaluable"] * 4
    names = [name for name, _ in reading.read(report / "report.html").numbers]
    scores = [name for name in names if re.search(r"\.(standard|published)\.", name)]
    assert any(name.startswith("studies/control/") for name in scores)
    assert not [name for name in scores if name.startswith("studies/dead/")]
    table = (report / "figures" / "seeds_forensics.csv").read_text()
    assert "studies/dead" not in table and "studies/control" in table


def test_a_degenerate_reconstruction_is_a_gray_field_with_the_reason(
    pipeline, tmp_path, monkeypatch
):
    from study.report.figures import reconstructions, scenes, style

    monkeypatch.setattr(
        reconstructions, "find_shown", lambda i: scenes.find_shown(i, ("control", "dead"))
    )
    with style.styled():
        drawn = reconstructions.draw_reconstructions(gather(pipeline))
        assert not isinstance(drawn, str)
        svg = style.save(drawn).svg
    assert svg.count("constant amplitude") == 2 and svg.count("constant phase") == 2
    assert "studies/dead" not in set(drawn.data["arm"])


def test_runs_that_failed_are_counted_with_their_cause_and_rate(report):
    text = re.sub(r"\s+", " ", reading.read(report / "report.html").text)
    assert "3 of 3 runs died in lost (rate 29.2 % to 100 %): 3 × the loss became NaN" in text
    assert "0 of 3 runs died in control; that leaves a rate of up to 70.8 % possible." in text


def test_what_is_not_stored_is_a_sentence(pipeline, tmp_path):
    results = tmp_path / "studies" / "results"
    shutil.copytree(pipeline / "studies" / "results", results)
    shutil.copy(pipeline / "findings.json", tmp_path)
    for name in ("regimes.json", "traces.json"):
        (results / name).unlink()
    made.edit(tmp_path / "findings.json", lambda findings: findings.pop("published"))
    for history in results.rglob("history.csv"):
        history.unlink()
    list_recorded(tmp_path)
    write_report(tmp_path, tmp_path / "out")
    text = reading.read(tmp_path / "out" / "report.html").text
    for sentence in (
        "Reconstructions: not stored here; run study pull --all or make repro-all",
        "Fourier ring correlation: not stored here",
        "Residuals: not stored here",
        "Dead units: not stored here",
        "Regime map: not stored here",
        "Traces: not stored here",
        "The comparison with the published numbers is not in this findings.json.",
        "studies/params.yaml is not here",
        "The environments of the runs are not stored here",
    ):
        assert sentence in text, sentence
    drawn = {file.stem for file in (tmp_path / "out" / "figures").iterdir()}
    assert drawn == {"seeds_studies__recorded"}


@pytest.mark.slow
def test_an_object_that_was_not_the_scored_one_is_not_shown(pipeline, tmp_path):
    root = shutil.copytree(pipeline, tmp_path / "root")
    for seed in made.SEEDS:
        for name in ("control", "better", "dead"):
            file = root / "studies" / "runs" / name / f"s{seed}" / "object_last.npz"
            file.write_bytes(file.read_bytes() + b" ")
    write_report(root, tmp_path / "out")
    text = reading.read(tmp_path / "out" / "report.html").text
    assert "control: different from the reconstruction that was scored" in text


def test_without_findings_a_sentence_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match="write it with `dvc repro findings`"):
        write_report(tmp_path, tmp_path / "out")


def test_figures_are_xml_with_text_as_text_and_have_their_numbers_beside_them(report):
    figures = sorted((report / "figures").glob("*.svg"))
    stems = {figure.stem for figure in figures}
    wanted = {"reconstructions", "frc", "residuals", "dead_units", "curves_better", "seeds_better"}
    wanted |= {"traces"}
    assert wanted | {"regimes_amplitude_mae", "regimes_phase_mae"} <= stems
    for figure in figures:
        words = [node.text for node in ET.parse(figure).iter("{http://www.w3.org/2000/svg}text")]
        assert len(words) > 4, figure
        assert figure.with_suffix(".csv").read_text().count("\n") > 2, figure


def test_the_map_frames_whom_the_sentences_name(pipeline):
    from study.investigations.regimes.figure import draw_regimes
    from study.investigations.regimes.results import load, lowest, regions_of, rows_of

    found = load(pipeline / "studies" / "results" / "regimes.json")
    drawn, cells = draw_regimes(found, "phase_mae"), found["cells"]
    assert not isinstance(drawn, str)
    for dose, probe in regions_of(cells):
        here = drawn.data[(drawn.data["dose"] == dose) & (drawn.data["probe"] == probe)]
        for step in made.STEPS:
            framed = here[(here["step_px"] == step) & here["lowest"]]["method"]
            named = lowest(rows_of(cells, (dose, probe)), step, "phase_mae")
            assert named is not None and set(framed) == set(named.methods)
    blank = drawn.data[drawn.data["phase_mae"].isna()]
    assert blank[["dose", "step_px", "method"]].to_numpy().tolist() == [[1e3, 32, "control"]] * 2


def test_a_torn_map_is_refused_and_not_left_out(pipeline, tmp_path):
    root = shutil.copytree(pipeline, tmp_path / "root")
    (root / "studies" / "results" / "regimes.json").write_text('{"format": 1, "cel')
    with pytest.raises(UserError, match=r"regimes\.json"):
        write_report(root, tmp_path / "out")


def test_findings_of_an_earlier_version_are_refused_in_words(pipeline, tmp_path):
    shutil.copy(pipeline / "findings.json", tmp_path)
    made.edit(tmp_path / "findings.json", lambda findings: findings.update(format=1))
    with pytest.raises(UserError, match="has the format 1; write it with `dvc repro findings`"):
        write_report(tmp_path, tmp_path / "out")


@pytest.mark.slow
def test_a_claims_text_is_text_on_the_page(pipeline, tmp_path):
    root = shutil.copytree(pipeline, tmp_path / "root")
    text = 'Lower: <script>alert(1)</script> & | "so"\nand on.'
    made.edit(root / "findings.json", lambda f: f["claims"]["BETTER-AMP"].update(text=text))
    write_report(root, tmp_path / "out")
    page = reading.read(tmp_path / "out" / "report.html")
    assert "script" not in {tag for tag, _ in page.tags}
    assert [row for row in page.rows if row and row[0] == f"BETTER-AMP: {text}"]


def test_a_traced_collapse_stands_beside_a_run_that_lives(report):
    text = re.sub(r"\s+", " ", reading.read(report / "report.html").text)
    assert "dead, 2 seeds: 2 collapsed; first bad step 12 (in 2 of 2)" in text
    assert text.index("What killed the runs") < text.index("The first bad step")
    table = pandas.read_csv(report / "figures" / "traces.csv")
    assert set(table["arm"]) == {"dead", "alive"}
    merge = table[(table["arm"] == "dead") & (table["part"] == "decoder.0.merge")]
    assert list(merge["step"][merge["dead"] == 1]) == list(range(12, 41))


def test_without_a_collapse_or_a_survivor_no_traces_are_drawn():
    from study.investigations.traces.figure import draw_traces

    runs = made.traces()["traces"]
    assert "all runs ended collapsed" in draw_traces(runs[:2])
    assert "all runs ended healthy" in draw_traces(runs[2:])


def test_the_frc_on_the_figure_crosses_where_the_score_says(pipeline):
    from study.metrics.frc import crossing
    from study.report.figures.resolution import ring_curve
    from study.report.figures.scenes import find_shown

    inputs = gather(pipeline)
    shown, _ = find_shown(inputs, ("back_projection_5",))
    stored = inputs.arms["studies/back_projection_5"].values("last.standard.amplitude.frc50")
    frequency, found = ring_curve(shown[0].pairs["amplitude"])
    assert frequency[-1] == 0.5
    assert crossing(found, 0.5) * frequency[1] == pytest.approx(stored[0], rel=1e-12)


def test_what_differs_in_protocol_and_the_order_stand_beside_the_published_numbers(report):
    page = reading.read(report / "report.html")
    assert "at the same protocol" not in page.text
    assert "stable, studies/dead: epochs 10 (published 50)." in page.text
    rows = [row for row in page.rows if row[0] == "stable"]
    orders = [re.sub(r"\s+", " ", row[-1]) for row in rows]
    message = "published −0.93, ours 0.008 [−0.043, 0.06] n = 3: not resolved"
    assert orders == ["–", message]


def test_seconds_are_told_to_be_no_property_of_an_arm(report):
    text = (report / "report.html").read_text()
    tables = [part for part in text.split("<figure") if "seconds per run" in part]
    assert len(tables) > 2
    assert all("wall time on a possibly loaded machine" in part for part in tables)


def shown(inputs, section):
    """The page of one section, as its readers see it."""
    page = reading.Page()
    with styled():
        page.feed(render_page(inputs, [section])[0])
    return page


def changed(inputs: Inputs, **parts: Any) -> Inputs:
    """The same with other parts of findings.json."""
    return replace(inputs, findings=parse({**inputs.findings.content(), **parts}, "findings.json"))


def test_all_numbers_again_takes_the_recorded_studies_along(pipeline):
    inputs = gather(pipeline)
    recorded = shown(inputs, sections.PROVENANCE).text
    assert "To recompute all numbers, run make repro-all and then" in recorded
    alone = changed(inputs, arms={})
    assert (
        "To recompute all numbers, run dvc repro and then" in shown(alone, sections.PROVENANCE).text
    )


def test_a_level_stands_only_beside_an_interval(pipeline):
    inputs = gather(pipeline)
    entry = inputs.findings.content()["claims"]["BETTER-AMP"]
    test = {"name": "Fisher exact", "p": 2.2e-06, "rates": {}}
    entry |= {"metric": "outcome", "unit": "", "test": test}
    del entry["word"]  # that of the numbers before
    entry["effect"] |= {"estimate": -0.75, "low": None, "high": None}
    one = changed(inputs, claims={"BETTER-AMP": entry})
    effect = "difference of rates −0.75, exact p\u00a0=\u00a02.2e-06, margin 0.01"
    rows = shown(one, sections.VERDICTS).rows
    assert [row[2] for row in rows if row[0].startswith("BETTER-AMP")] == [effect]


def test_many_pairs_of_one_reason_are_one_limit(pipeline):
    inputs = gather(pipeline)
    same = {"same_scores": [101], "same_histories": [], "is_error": False}
    many = [{**same, "arms": ["a", f"b{i}"], "reason": "both are constant"} for i in range(20)]
    one = {**same, "arms": ["c", "d"], "reason": "no setting differs between them"}
    flagged = changed(inputs, flags=[*many, one])
    lines = [line.strip() for line in shown(flagged, sections.LIMITS).text.splitlines()]
    assert [line for line in lines if "constant" in line] == [
        "20 pairs of arms (see findings.json): both are constant."
    ]
    assert "c and d: same scores for seeds 101: no setting differs between them." in lines


def test_a_name_missing_from_the_findings_is_an_error_and_not_a_gap(pipeline):
    inputs = gather(pipeline)
    claims = inputs.findings.content()["claims"]
    claims["BETTER-AMP"].pop("needed_seeds")
    with pytest.raises(UserError, match=r"claims\.BETTER-AMP\.needed_seeds is missing"):
        changed(inputs, claims=claims)
    published = deepcopy(inputs.findings.published)
    assert published is not None
    published["entries"][1].pop("reason")
    torn = inputs.findings.model_copy(update={"published": published})
    with pytest.raises(UndefinedError, match="no attribute"):
        shown(replace(inputs, findings=torn), PUBLISHED[0])


def test_seeds_are_counted_in_both_panels_where_they_differ(pipeline):
    from study.report.figures.seeds import draw_seeds

    inputs = gather(pipeline)
    arms = inputs.findings.content()["arms"]
    phase = arms["studies/better"]["numbers"]["last.standard.phase.mae"]
    phase["values"].popitem()
    phase["n"] -= 1
    group = inputs.group("better")
    assert group is not None
    drawn = draw_seeds(changed(inputs, arms=arms), group)
    assert not isinstance(drawn, str)
    names = [label.get_text() for label in drawn.figure.axes[0].get_yticklabels()]
    assert {"control (n = 3)", "better (n = 3 / 2)"} <= set(names)


def test_the_crate_reads_back_and_its_hashes_are_true(pipeline, report):
    crate = ROCrate(report)
    files = [e for e in crate.data_entities if e.type == "File"]
    on_disk = {p.relative_to(report).as_posix() for p in report.rglob("*") if p.is_file()}
    assert {e.id for e in files} == on_disk - {"ro-crate-metadata.json"}
    for entity in files:
        assert entity["sha256"] == hash_of_file(report / entity.id)
    assert crate.license["name"] == "BSD-3-Clause"
    metadata = (report / "ro-crate-metadata.json").read_text()
    assert not re.search(r'"(author|creator|Person)"', metadata)
    action = crate.dereference("#study-report")
    assert action.type == "CreateAction" and action["name"] == "study report"
    read = {e.id for e in action["object"]}
    assert {"inputs/findings.json", "inputs/studies/results/regimes.json"} <= read
    hashed = re.findall(r"<li>(\S+), sha256 <code>", (report / "report.html").read_text())
    assert "requirements.lock" in hashed
    assert {f"inputs/{name}" for name in hashed} <= read
    assert "report.html" in {e.id for e in action["result"]}
    for entity in action["object"]:
        source = pipeline / entity.id.removeprefix("inputs/")
        assert entity["sha256"] == hash_of_file(source)


@pytest.mark.slow
def test_the_command_writes_the_same_bytes_in_another_process_without_torch(
    pipeline, report, tmp_path
):
    code = (
        "import sys; from study.cli import main"
        "\nsys.argv = ['study', 'report', '--out', sys.argv[1]]"
        "\ntry: main()\nexcept SystemExit as end: assert not end.code, end"
        "\nassert 'torch' not in sys.modules and 'lightning' not in sys.modules"
    )
    out = tmp_path / "report"
    done = subprocess.run(
        [sys.executable, "-c", code, str(out)],
        cwd=pipeline,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == str(out / "report.html")
    assert made.evidence_of(out) == made.evidence_of(report)
