"""More seeds from the page: priced by the same command, then added and started."""

from types import SimpleNamespace

import pytest
from checkouts import opened

from study import jobs
from study.settings import load_study

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def priced(monkeypatch):
    """A price without a process, and no supervisor: what is asked for stays queued."""
    answer = {"seeds": [71, 72], "minutes": 3}
    asked = SimpleNamespace(done=True, answer=answer, refusal=None)
    monkeypatch.setattr("app.new_arm.more.ask_once", lambda words, state: asked)
    monkeypatch.setattr("study.jobs.api.ensure", lambda root: None)


def test_seeds_are_priced_added_and_started(toy):
    app = opened("new_arm", more="1")
    words = "\n".join(block.value for block in app.markdown)
    assert "2 runs, about 3 min" in words and "71" in words
    before = load_study(toy / "params.yaml").arms["control"].seeds
    app.button(key="more-start").click().run()
    assert not app.exception
    assert load_study(toy / "params.yaml").arms["control"].seeds == (*before, 71, 72)
    [job] = jobs.jobs(toy)
    assert (job.arm, job.seeds) == ("control", (71, 72))
    assert app.title[0].value == "Runs"


def test_a_reader_is_offered_no_seeds(toy, monkeypatch):
    monkeypatch.setenv("ARMATURE_READ_ONLY", "1")
    assert "more-add" not in {button.key for button in opened("new_arm", more="1").button}
