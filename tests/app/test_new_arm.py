"""New arm: the form says what the models say, refusals stand beside their field, and what is added
is what was shown."""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from checkouts import FIRST_STUDY, ROOT, opened, rendered
from streamlit.testing.v1 import AppTest

from pipeline.toy import PARAMS
from study.evidence.claims import load_claims
from study.settings import Arm, Reference, Row, UserError, leaves, load_study

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def networks() -> dict:
    from study.stages.estimate import networks

    return networks()


def parts_of(row: Row, networks: dict) -> list:
    from app.new_arm.fields import sections

    return sections(row, networks, [row.data])


@pytest.mark.parametrize("file", ["params.yaml", "studies/params.yaml", "full/params.yaml"])
def test_the_form_has_every_setting_of_every_arm_and_shows_what_it_is(file, networks):
    from app.new_arm.form import cells, settings_of

    for name, row in load_study(ROOT / file).arms.items():
        form = cells(name, row, parts_of(row, networks), {}, lambda key, path, default: default)
        shown = {cell.field.path: cell for group in form.values() for cell in group}
        # The settings that rPIE tries are one field: a mapping that is edited in params.yaml.
        named = {leaf for leaf in leaves(row) if leaf.startswith("source.settings.")}
        assert set(shown) == set(leaves(row)) - named | ({"source.settings"} if named else set())
        assert not settings_of(form), "an untouched form changes nothing"
        assert not any(cell.changed for cell in shown.values())


def test_choices_and_bounds_come_from_the_models(networks):
    row = load_study(FIRST_STUDY / "params.yaml").arms["control"]
    found = {f.path: f for p in parts_of(row, networks) for v in p.variants.values() for f in v}
    assert found["precision"].choices == ("fp32", "tf32", "bf16")
    assert found["clip.exclude_head"].choices == ("false", "true")
    assert found["optimizer.momentum"].hint == "a number ≥ 0 and < 1"
    assert found["clip.gradient_clip_val"].hint == "a number > 0 and ≤ 1e+12 or null"
    assert set(found["generator.decoder_norm"].choices) == {"none", "group"}


def test_a_new_field_of_the_model_is_shown_without_a_heading_of_its_own():
    from app.new_arm.fields import HEADINGS, Section, grouped

    shown = dict(grouped([Section("brand_new", {"": ()}), Section("clip", {"": ()})]))
    assert [part.path for part in shown["Other settings"]] == ["brand_new"]
    known = {path for paths in HEADINGS.values() for path in paths}
    assert known <= {*Arm.model_fields, *Reference.model_fields}


def form_of(base: str, networks: dict, **texts: str):
    """The form of a base with some widgets filled (dots as double underscores)."""
    from app.new_arm.form import cells

    row = load_study(FIRST_STUDY / "params.yaml").arms[base]
    takes = {name: tuple(schema["properties"]) for name, schema in networks.items()}
    asked = {key.replace("__", "."): value for key, value in texts.items()}
    parts = parts_of(row, networks)
    return cells(base, row, parts, takes, lambda key, path, default: asked.get(path, default))


@pytest.mark.parametrize(
    ("texts", "settings"),
    [
        ({"epochs": "20"}, {"epochs=20"}),
        ({"clip__gradient_clip_algorithm": "agc"}, {"clip.gradient_clip_algorithm=agc"}),
        ({"optimizer__name": "adamw"}, {"optimizer.name=adamw"}),
        (
            {"optimizer__name": "sgd", "optimizer__momentum": "0.5"},
            {"optimizer.name=sgd", "optimizer.momentum=0.5"},
        ),
        ({"loss__name": "supervised"}, {"loss.name=supervised"}),
        (
            {"generator__name": "cnn", "generator__width": "8"},
            {"generator.name=cnn", "generator.width=8"},
        ),
    ],
)
def test_a_form_becomes_the_settings_of_the_command_line(texts, settings, networks):
    from app.new_arm.form import settings_of
    from study.editing.arms import Draft, planned

    found = settings_of(form_of("control", networks, **texts))
    assert set(found) == settings and len(found) == len(settings)
    study = load_study(FIRST_STUDY / "params.yaml")
    takes = {name: tuple(schema["properties"]) for name, schema in networks.items()}
    assert planned(study, Draft("fresh", "control", found), takes).changes


@pytest.mark.parametrize(
    ("texts", "field"),
    [
        ({"epochs": "many"}, "epochs"),
        ({"epochs": "[1"}, "epochs"),
        ({"optimizer__lr": "-1"}, "optimizer.lr"),
        ({"clip__gradient_clip_val": "null"}, "clip.gradient_clip_algorithm"),
        ({"loss__overlap_weight": "x", "batch_size": "0"}, "loss.overlap_weight"),
        ({"batch_size": "0", "epochs": "0"}, "batch_size"),
    ],
)
def test_a_refusal_stands_beside_its_field(texts, field, networks):
    from app.new_arm.form import settings_of, wrong
    from study.editing.arms import Draft, planned

    form = form_of("control", networks, **texts)
    with pytest.raises(UserError) as refusal:
        planned(load_study(FIRST_STUDY / "params.yaml"), Draft("x", "control", settings_of(form)))
    problems = wrong(str(refusal.value), form)
    assert field in problems and "Traceback" not in problems[field] and "" not in problems


# --- on the page ------------------------------------------------------------------------------


def box(app: AppTest, label: str):
    """A text box by its name, changed or not."""
    plain = label.replace("_", "\\_")
    return next(found for found in app.text_input if found.label.split(" ")[-1] == plain)


def page_text(app: AppTest) -> str:
    kinds = (app.error, app.warning, app.success, app.info, app.markdown, app.caption)
    return "\n".join(rendered(item.value) for kind in kinds for item in kind)


def test_an_empty_checkout_is_a_sentence():
    assert "params.yaml does not exist" in opened("new_arm").error[0].value


@pytest.mark.slow
def test_one_field_is_changed_checked_added_and_is_there(toy):
    app = opened("new_arm")
    assert app.button(key="add").disabled
    box(app, "gradient_clip_val").set_value("2.0").run()
    assert "One factor changed" in page_text(app) and "1.0 → **2.0**" in page_text(app)
    assert "parameters" in page_text(app) and not app.button(key="add").disabled
    command = next(c.value for c in app.code if c.value.startswith("study arms new"))
    command = " ".join(command.replace("\\\n", " ").split())
    assert "--from control --set clip.gradient_clip_val=2.0" in command
    assert app.query_params["set"] == "clip.gradient_clip_val=2.0"
    before = (toy / "params.yaml").read_text()
    app.button(key="add").click().run()
    assert not app.exception and "Added" in page_text(app)
    added = load_study(toy / "params.yaml").arms["control_gradient_clip_val_2_0"]
    assert added.changes == ("clip.gradient_clip_val",)
    assert (toy / "params.yaml").read_text().startswith(before.rstrip("\n"))
    assert "No difference" in page_text(app), "the form is empty again"


class Late:
    """Networks that answer while the page is drawn."""

    def __init__(self, answer: dict) -> None:
        self.asked, self.answer = 0, answer

    @property
    def done(self) -> bool:
        self.asked += 1
        return self.asked > 1


def test_a_network_of_the_address_is_kept_until_the_networks_are_known(toy, networks, monkeypatch):
    late = Late(networks)
    monkeypatch.setattr("app.new_arm.networks._networks", lambda key: late)
    app = opened("new_arm", set="generator.name=cnn")
    assert "→ **cnn**" in page_text(app)


def test_networks_that_cannot_be_asked_are_told_and_asked_again(toy, monkeypatch):
    asked = []

    class Failed:
        done, answer, refusal = True, None, "torch is *broken*"

        def __init__(self, *words: str) -> None:
            asked.append(words)

    monkeypatch.setattr("app.new_arm.networks.Checker.ask", lambda self, *words: Failed(*words))
    app = opened("new_arm", set="generator.width=8")
    assert "torch is *broken*" in page_text(app) and "Loading the options" not in page_text(app)
    assert app.query_params["set"] == "generator.width=8", "kept for when they are known"
    before = len(asked)
    app.run()
    assert len(asked) > before


def program(toy, monkeypatch, lines: str) -> None:
    """The process that is asked, as a shell script."""
    (toy / "study.sh").write_text(f"#!/bin/sh\n{lines}\n")
    (toy / "study.sh").chmod(0o755)
    monkeypatch.setattr("app.new_arm.networks.sys.executable", str(toy / "study.sh"))


def test_one_process_answers_all_questions_in_turn(toy, monkeypatch):
    from app.new_arm.networks import Checker, wait

    line = r"{\"code\": 0, \"out\": \"{\\\"pid\\\": $$}\", \"err\": \"\"}"
    program(toy, monkeypatch, f'while read words; do echo "{line}"; done')
    checker = Checker()
    with ThreadPoolExecutor(8) as sessions:
        asked = list(sessions.map(lambda i: checker.ask("arms", "check", str(i)), range(16)))
    for one in asked:
        wait(one)
    assert len({one.answer["pid"] for one in asked if one.answer}) == 1
    checker.close()


def test_a_process_that_dies_is_a_sentence_and_the_next_question_starts_another(toy, monkeypatch):
    from app.new_arm.networks import Checker, wait

    program(toy, monkeypatch, "read words; echo 'torch is broken' >&2; exit 3")
    checker = Checker()
    for _ in range(2):
        asked = checker.ask("arms", "fields")
        wait(asked)
        assert asked.answer is None
        assert asked.refusal == "study arms fields ended with exit code 3: torch is broken"
    checker.close()


@pytest.mark.slow
def test_a_rename_is_not_checked_again_and_a_change_is(toy, monkeypatch):
    from app.new_arm import networks

    app = opened("new_arm", set="optimizer.lr=0.003")
    first = app.session_state["new-arm-check"][1]
    assert first.answer is not None
    app.text_input(key="name").set_value("another_name").run()
    assert app.session_state["new-arm-check"][1] is first
    assert not app.button(key="add").disabled
    process = networks.checker()._process
    box(app, "lr").set_value("0.004").run()
    assert app.session_state["new-arm-check"][1] is not first
    assert networks.checker()._process is process, "the same process"


def test_the_warm_process_answers_what_reads_and_nothing_that_writes(toy):
    from study.cli.answers import answer

    asked = ["arms", "check", "fresh", "--json", "--from", "control", "--set", "epochs=x"]
    refused = answer(asked)
    assert refused["code"] == 2 and "epochs" in refused["err"]
    before = (toy / "params.yaml").read_bytes()
    assert answer(["arms", "new", "fresh", "--set", "epochs=3"])["code"] == 2
    assert answer([])["code"] == 2
    assert (toy / "params.yaml").read_bytes() == before


@pytest.mark.slow
def test_networks_that_answer_while_the_page_is_drawn_are_drawn(toy, networks, monkeypatch):
    """The check of an address with changes takes longer than they do."""
    late = Late(networks)
    monkeypatch.setattr("app.new_arm.networks._networks", lambda key: late)
    app = opened("new_arm", set=["optimizer.lr=0.003", "generator.fno_blocks=1"])
    assert not app.exception and "Loading the options of the networks" not in page_text(app)
    assert box(app, "fno_blocks").value == "1" and box(app, "lr").value == "0.003"


@pytest.mark.slow
def test_an_arm_added_to_another_base_leaves_an_empty_form_on_that_base(toy):
    app = opened("new_arm", **{"from": "cnn", "set": "epochs=3", "name": "longer"})
    app.button(key="add").click().run()
    assert not app.exception and "Added" in page_text(app)
    assert load_study(toy / "params.yaml").arms["longer"].versus == "cnn"
    assert "No difference from cnn" in page_text(app) and app.text_input(key="name").value == ""
    assert app.query_params == {"from": "cnn"}


@pytest.mark.slow
def test_two_factors_need_the_tick_and_a_bad_one_stands_beside_its_field(toy):
    app = opened("new_arm", set=["epochs=3", "batch_size=8"])
    assert "2 factors changed" in page_text(app) and app.button(key="add").disabled
    app.checkbox(key="confounded").check().run()
    assert not app.button(key="add").disabled
    before = (toy / "params.yaml").read_bytes()
    box(app, "epochs").set_value("many").run()
    assert app.button(key="add").disabled and "valid integer" in page_text(app)
    assert not app.exception and (toy / "params.yaml").read_bytes() == before


@pytest.mark.slow
def test_a_twin_links_to_the_arm_that_exists(toy):
    (toy / "params.yaml").write_text(
        PARAMS.replace("changes: [generator.name]", "changes: [epochs]").replace(
            "    generator: {name: cnn, width: 4, input_transform: none}", "    epochs: 3"
        )
    )
    app = opened("new_arm", set="epochs=3")
    assert "cnn has these settings already" in page_text(app) and app.button(key="add").disabled


@pytest.mark.slow
def test_a_claim_is_written_with_the_arm(toy):
    app = opened("new_arm", set="epochs=3", name="longer", with_claim="true")
    assert "Confirmatory if" in page_text(app)
    app.button(key="add").click().run()
    claim = load_claims(toy / "claims.yaml").claims[0]
    assert (claim.id, claim.arms.treatment, claim.changes) == ("LONGER-001", "longer", ("epochs",))
    assert "longer" in load_study(toy / "params.yaml").arms


CLAIM = {
    "claim-metric": "best.val_loss", "claim-direction": "equal", "claim-margin": "0.5",
    "claim-needed-seeds": "9", "claim-id": "SAME-7", "claim-family": "same",
    "claim-text": "They learn the same.",
}  # fmt: skip


def of_claim(app: AppTest) -> dict[str, str]:
    """What the address says of the claim."""
    found = {key: app.query_params[key] for key in app.query_params if key.startswith("claim-")}
    return {key: value if isinstance(value, str) else value[-1] for key, value in found.items()}


@pytest.mark.slow
def test_a_claim_stands_in_the_address_where_it_is_not_the_usual_one(toy):
    app = opened("new_arm", set="epochs=3", name="longer", with_claim="true", **CLAIM)
    assert of_claim(app) == CLAIM
    box(app, "margin").set_value("0.25").run()
    assert of_claim(app) == {**CLAIM, "claim-margin": "0.25"}
    app.button(key="add").click().run()
    assert not app.exception and not of_claim(app) and "with_claim" not in app.query_params
    claim = load_claims(toy / "claims.yaml").claims[0]
    assert (claim.id, claim.family, claim.metric) == ("SAME-7", "same", "best.val_loss")
    assert (claim.text, claim.direction) == ("They learn the same.", "equal")
    assert (claim.margin.value, claim.needed_seeds) == (0.25, 9)


@pytest.mark.slow
def test_another_metric_has_the_usual_margin_of_its_own(toy):
    app = opened("new_arm", set="epochs=3", name="longer", with_claim="true", **CLAIM)
    app.selectbox(key="claim-metric").set_value("last.standard.amplitude.mae").run()
    assert set(of_claim(app)) == {"claim-needed-seeds", "claim-id", "claim-family"}
    assert box(app, "margin").value == "0.02" and "Longer" in app.text_area[0].value
    app.toggle(key="with_claim").set_value(False).run()
    assert not app.exception and not of_claim(app)


@pytest.mark.slow
def test_what_the_address_says_of_a_claim_and_nobody_knows_is_told(toy):
    wrong = {"claim-metric": "beauty", "claim-direction": "up", "claim-margin": "wide"}
    app = opened("new_arm", set="epochs=3", name="longer", with_claim="true", **wrong)
    message = page_text(app).replace("\\", "")
    assert (
        "metric 'beauty'" in message
        and "direction 'up'" in message
        and "margin is 'wide'" in message
    )
    assert not app.exception and app.button(key="add").disabled


@pytest.mark.slow
def test_arm_and_claim_are_committed_unless_one_says_no(toy, monkeypatch):
    """A run of an uncommitted arm counts for no claim; other edits are named, not committed."""
    for key, value in (("NAME", "A Tester"), ("EMAIL", "tester@example.org")):
        monkeypatch.setenv(f"GIT_AUTHOR_{key}", value)
        monkeypatch.setenv(f"GIT_COMMITTER_{key}", value)

    def git(*words: str) -> str:
        return subprocess.run(("git", *words), check=True, capture_output=True, text=True).stdout

    git("init", "-q")
    git("add", "params.yaml", "claims.yaml")
    git("commit", "-qm", "study")
    (toy / "requirements.lock").write_text("")
    app = opened("new_arm", set="epochs=3", name="longer", with_claim="true")
    assert "Uncommitted changes in requirements.lock" in page_text(app)
    assert any("--commit" in code.value for code in app.code)
    app.checkbox(key="commit").uncheck().run()
    assert "uncommitted arm" in page_text(app)
    assert not any("--commit" in code.value for code in app.code)
    app.checkbox(key="commit").check().run()
    app.button(key="add").click().run()
    assert not app.exception and "committed as" in page_text(app)
    assert git("status", "--porcelain", "params.yaml", "claims.yaml") == ""
    assert git("log", "-1", "--format=%s").strip() == "Add arm longer and claim LONGER-001"


@pytest.mark.slow
def test_what_geometry_refuses_cannot_be_added(toy):
    app = opened("new_arm", set="generator.fno_blocks=6")
    assert app.button(key="add").disabled and app.error


@pytest.mark.slow
def test_read_only_has_no_button_and_writes_nothing(toy, monkeypatch):
    monkeypatch.setenv("ARMATURE_READ_ONLY", "1")
    before = {p: p.read_bytes() for p in toy.iterdir() if p.is_file()}
    app = opened("new_arm", set="epochs=3")
    assert not app.button and "ARMATURE_READ_ONLY" in page_text(app)
    assert {p: p.read_bytes() for p in toy.iterdir() if p.is_file()} == before


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"set": "foo.bar=1"}, "not a field"), ({"set": "=", "from": "control"}, "not a field"),
        ({"from": "../x"}, "address"), ({"set": "epochs"}, "not a field"),
        ({"seeds": "one"}, "seeds: "), ({"name": "A B", "set": "epochs=3"}, "'A B'"),
        ({"set": "epochs=[1"}, "epochs: "),
        ({"set": "precision=fp8"}, "precision='fp8'; accepted: fp32, tf32, bf16"),
        ({"set": "generator.name=nothing"}, "generator.name='nothing'; accepted: "),
    ],
)  # fmt: skip
@pytest.mark.slow
def test_a_bad_address_is_a_sentence(toy, networks, monkeypatch, query, words):
    known = Late(networks)
    assert not known.done and known.done
    monkeypatch.setattr("app.new_arm.networks._networks", lambda key: known)
    before = (toy / "params.yaml").read_bytes()
    app = opened("new_arm", **query)
    message = "\n".join(item.value for item in (*app.warning, *app.error)).replace("\\", "")
    assert words in message
    assert not app.exception and app.button(key="add").disabled
    assert (toy / "params.yaml").read_bytes() == before


@pytest.mark.slow
def test_an_arm_is_archived_from_the_page(toy):
    app = opened("new_arm", **{"from": "cnn"})
    app.button(key="archive").click().run()
    assert not app.exception and "archived/cnn" in page_text(app).replace("\\", "")
    assert "cnn" not in load_study(toy / "params.yaml").arms
    shutil.rmtree(toy / "archived")
