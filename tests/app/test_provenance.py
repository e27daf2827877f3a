"""Provenance: stages against their records, runs against this history, this installation."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from checkouts import SEEDS, change, opened, rendered, troubled, two_by_three

from app.provenance import drawing, environments, lock, machine, pipeline, state
from app.provenance.disk import Disk, file_md5
from study.runs import start_time, write_json, write_text, write_yaml
from study.runs.reread import Reread
from study.settings import UserError, read_yaml

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
ROOT = Path(__file__).parent.parent.parent

PIPELINE = """
stages:
  prepare:
    cmd: make prepare
    params: [data]
    deps: [code]
    outs:
      - build/set: {push: false}
  train:
    foreach: ${arms}
    do:
      cmd: make train ${key}
      params: ["arms.${key}"]
      deps: ["${item.data}"]
      outs:
        - runs/${key}: {persist: true}
  judge:
    cmd: make judge
    deps: [runs]
    outs:
      - found.json: {cache: false}
"""


def md5(path: Path) -> dict[str, object]:
    """What DVC records of a path, in lines of its own: files sorted by name within a folder."""
    if path.is_file():
        digest = hashlib.md5(path.read_bytes()).hexdigest()
        return {"md5": digest, "size": path.stat().st_size}
    files = sorted(file for file in path.rglob("*") if file.is_file())
    listed = [
        {"md5": hashlib.md5(f.read_bytes()).hexdigest(), "relpath": f.relative_to(path).as_posix()}
        for f in files
    ]
    digest = hashlib.md5(json.dumps(listed).encode()).hexdigest()
    size = sum(file.stat().st_size for file in files)
    return {"md5": f"{digest}.dir", "size": size, "nfiles": len(files)}


def recorded(root: Path, *paths: str) -> list[dict[str, object]]:
    return [{"path": path, **md5(root / path)} for path in paths]


@pytest.fixture
def checkout(fresh: Path) -> Path:
    """Two arms that ran, everything as recorded; the set in build/ is cached and never pushed."""
    for name in ("code/a.py", "build/set/x", "build/set/y", "runs/one/w", "runs/two/w"):
        write_text(fresh / name, f"content of {name}")
    write_text(fresh / "found.json", "{}")
    write_text(fresh / "dvc.yaml", PIPELINE)
    arms = {key: {"data": "build/set", "lr": 0.1} for key in ("one", "two")}
    write_yaml(fresh / "params.yaml", {"data": {"n": 4}, "arms": arms})
    trains = {
        f"train@{key}": {
            "cmd": f"make train {key}",
            "deps": recorded(fresh, "build/set"),
            "params": {"params.yaml": {f"arms.{key}": arms[key]}},
            "outs": recorded(fresh, f"runs/{key}"),
        }
        for key in arms
    }
    stages = {
        "prepare": {
            "cmd": "make prepare",
            "deps": recorded(fresh, "code"),
            "params": {"params.yaml": {"data": {"n": 4}}},
            "outs": recorded(fresh, "build/set"),
        },
        **trains,
        "judge": {
            "cmd": "make judge",
            "deps": recorded(fresh, "runs"),
            "outs": recorded(fresh, "found.json"),
        },
    }
    write_yaml(fresh / "dvc.lock", {"schema": "2.0", "stages": stages})
    return fresh


def judged(root: Path, contents: bool = True) -> dict[str, state.Judged]:
    params = read_yaml(root / "params.yaml")
    found = pipeline.stages(root, params)
    records = lock.records(root)
    return state.judge(
        found, records, {"params.yaml": params}, Disk(root, Reread(file_md5)), contents
    )


def states_of(root: Path, contents: bool = True) -> dict[str, str]:
    return {name: j.state for name, j in judged(root, contents).items()}


def edit(root: Path, arm: str, **settings: object) -> None:
    given = read_yaml(root / "params.yaml")
    given["arms"].setdefault(arm, {"data": "build/set"}).update(settings)
    write_yaml(root / "params.yaml", given)


# --- states -----------------------------------------------------------------------------------


def test_what_lies_as_recorded_is_fresh(checkout):
    found = judged(checkout)
    assert list(found) == ["prepare", "train@one", "train@two", "judge"]
    assert {j.state for j in found.values()} == {"fresh"}
    assert not any(j.behind or j.reasons for j in found.values())


def test_files_that_dvc_ignores_change_nothing(checkout):
    write_text(checkout / "code" / "__pycache__" / "a.cpython-311.pyc", "x")
    assert states_of(checkout)["prepare"] == "fresh"


def test_what_vanishes_while_a_folder_is_read_is_left_out(checkout):
    """A link that leads nowhere is listed and cannot be looked at, as a file that has just gone."""
    (checkout / "code" / "gone.py").symlink_to("nowhere")
    assert states_of(checkout)["prepare"] == "fresh"


def test_a_stamp_changes_with_every_file(tmp_path, monkeypatch):
    from app import load

    def file(name: str, text: str) -> None:
        write_text(tmp_path / name, text)
        os.utime(tmp_path / name, (1, 1))

    file("a", "12")
    file("b/c", "345")
    seen = {load.stamp(tmp_path)}
    file("a", "123")
    file("b/c", "45")
    seen.add(load.stamp(tmp_path))  # as many files, as many bytes, no newer time
    (tmp_path / "a").rename(tmp_path / "d")
    seen.add(load.stamp(tmp_path))
    os.utime(tmp_path / "d", (0, 0))
    seen.add(load.stamp(tmp_path))
    assert len(seen) == 4 and load.stamp(tmp_path) in seen
    monkeypatch.setattr(load, "_files", lambda place: [*tmp_path.iterdir(), tmp_path / "gone"])
    assert load.stamp(tmp_path) not in seen


def test_an_edited_arm_is_stale_alone_and_says_what_changed(checkout):
    edit(checkout, "two", lr=0.2)
    found = judged(checkout)
    assert [name for name, j in found.items() if j.state == "stale"] == ["train@two"]
    assert found["train@two"].reasons == ("arms.two.lr: 0.1, now 0.2",)
    assert found["judge"].behind == ("train@two",)


def test_changed_code_is_stale_and_those_after_it_stand_behind(checkout):
    write_text(checkout / "code" / "a.py", "content of code/b.py")  # as many bytes
    found = judged(checkout, contents=False)
    assert found["prepare"].reasons == ("code changed",)
    assert found["train@one"].state == "fresh" and found["train@one"].behind == ("prepare",)


def test_a_new_arm_never_ran_and_an_archived_one_is_gone(checkout):
    edit(checkout, "three", lr=1.0)
    found = judged(checkout)
    assert (
        found["train@three"].state == "missing" and "never run" in found["train@three"].reasons[0]
    )
    given = read_yaml(checkout / "params.yaml")
    del given["arms"]["one"]
    write_yaml(checkout / "params.yaml", given)
    assert "train@one" not in judged(checkout)


def test_a_changed_command_and_a_new_input_are_told(checkout):
    text = PIPELINE.replace("make judge", "make verdict").replace("[runs]", "[runs, code]")
    write_text(checkout / "dvc.yaml", text)
    assert judged(checkout)["judge"].reasons == (
        "its command is now 'make verdict'",
        "code is a new input",
    )


def test_runs_that_are_not_here_are_not_pulled_and_nothing_after_them_is_stale(checkout):
    for key in ("one", "two"):
        (checkout / "runs" / key / "w").unlink()
        (checkout / "runs" / key).rmdir()
    (checkout / "runs").rmdir()
    found = judged(checkout)
    assert found["train@one"].state == "not pulled" and found["train@one"].absent == ("runs/one",)
    assert found["judge"].state == "fresh" and found["judge"].not_here == ("runs",)


def test_a_set_that_is_never_pushed_is_not_missed(checkout):
    for name in ("x", "y"):
        (checkout / "build" / "set" / name).unlink()
    (checkout / "build" / "set").rmdir()
    found = judged(checkout)
    assert found["prepare"].state == "fresh" and found["prepare"].absent == ("build/set",)
    assert found["train@one"].state == "fresh" and found["train@one"].not_here == ("build/set",)


def test_an_output_of_git_that_is_gone_is_missing(checkout):
    (checkout / "found.json").unlink()
    assert states_of(checkout)["judge"] == "missing"


def test_contents_of_runs_are_compared_on_request(checkout):
    write_text(checkout / "runs" / "one" / "w", "CONTENT of runs/one/w")  # as many bytes
    assert states_of(checkout, contents=False)["train@one"] == "fresh"
    assert judged(checkout)["train@one"].reasons == ("runs/one differs from the recorded output",)
    write_text(checkout / "runs" / "one" / "w", "more bytes than were recorded before")
    assert states_of(checkout, contents=False)["train@one"] == "stale"


def test_a_file_is_hashed_once_until_it_changes(checkout, monkeypatch):
    disk = Disk(checkout, Reread(file_md5))
    first = disk.md5("build/set")
    assert first == md5(checkout / "build" / "set")["md5"]
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("hashed again"))
    assert disk.md5("build/set") == first
    file = next(file for file in (checkout / "build" / "set").iterdir() if file.is_file())
    file.write_text("changed")
    with pytest.raises(pytest.fail.Exception):
        disk.md5("build/set")


def test_a_reference_that_is_not_understood_is_said(checkout):
    write_text(checkout / "dvc.yaml", PIPELINE.replace("${item.data}", "${other.data}"))
    with pytest.raises(UserError, match=r"other\.data"):
        pipeline.stages(checkout, read_yaml(checkout / "params.yaml"))


@pytest.mark.parametrize("folder", ["", "studies", "full"])
def test_the_pipelines_of_this_project_are_understood(folder):
    found = pipeline.stages(ROOT / folder, read_yaml(ROOT / folder / "params.yaml"))
    names = {stage.name for stage in found}
    assert {"simulate", "data.dvc", "fingerprint", "train@control", "evaluate@control"} <= names
    kinds = pipeline.kinds(found)
    assert kinds["data"] == ("simulate",) and set(kinds["train"]) == {"data", "fingerprint"}
    assert kinds["evaluate"] == ("train",)


@pytest.mark.slow
def test_dvc_agrees(fresh):
    """A pipeline that DVC ran is fresh here, and stale here where DVC says that it changed."""
    copy = "import shutil, sys; shutil.copytree('code', sys.argv[1])"
    write_text(fresh / "lay.py", copy)
    run = f"{sys.executable} lay.py"
    text = PIPELINE.replace("make prepare", f"{run} build/set")
    text = text.replace("make train ${key}", f"{run} runs/${{key}}")
    text = text.replace("make judge", f"{sys.executable} -c \"open('found.json','w').write('1')\"")
    write_text(fresh / "dvc.yaml", text)
    write_text(fresh / ".dvcignore", "__pycache__/\n*.pyc\n")
    for name in ("b.py", "a.py", "deep/c.py", "deep-er/d.py", "__pycache__/e.pyc"):
        write_text(fresh / "code" / name, name)
    arms = {key: {"data": "build/set", "lr": 0.1} for key in ("one", "two")}
    write_yaml(fresh / "params.yaml", {"data": {"n": 4}, "arms": arms})

    def dvc(*arguments: str) -> str:
        done = subprocess.run(
            (sys.executable, "-m", "dvc", *arguments), cwd=fresh, capture_output=True, text=True,
            env={**os.environ, "DVC_NO_ANALYTICS": "1"}, check=True,
        )  # fmt: skip
        return done.stdout

    dvc("init", "--no-scm")
    (fresh / "build").mkdir()
    (fresh / "runs").mkdir()
    dvc("repro")
    assert set(states_of(fresh).values()) == {"fresh"} and json.loads(dvc("status", "--json")) == {}
    edit(fresh, "two", lr=0.2)
    write_text(fresh / "code" / "a.py", "B.py")
    stale = {name for name, found in states_of(fresh).items() if found == "stale"}
    assert stale == set(json.loads(dvc("status", "--json"))) == {"prepare", "train@two"}


# --- the page ---------------------------------------------------------------------------------


def texts(app) -> str:
    return "\n".join(rendered(item.value) for item in (*app.markdown, *app.caption, *app.text))


def picture(app) -> str:
    return next(item.proto.body for item in app.get("html") if "<img" in item.proto.body)


def columns(app, first: str):
    return next(t.value for t in app.dataframe if t.value.columns[0] == first)


def test_an_empty_folder_is_told():
    app = opened("provenance")
    assert "No pipeline here" in app.info[0].value and "No results" in app.info[1].value


def test_the_graph_counts_arms_and_the_table_names_the_command(checkout):
    edit(checkout, "two", lr=0.2)
    app = opened("provenance", stage="train")
    assert "train: 1 fresh, 1 stale" in picture(app)
    table = columns(app, "arm")
    assert list(table["arm"]) == ["two", "one"]  # what asks for work comes first
    assert table["why"][0] == "arms.two.lr: 0.1, now 0.2"
    assert table["command"][0] == "dvc repro train@two"


def test_a_stage_that_is_none_is_a_sentence(checkout):
    app = opened("provenance", stage="trian", pipeline="other")
    reported = " ".join(warning.value for warning in app.warning)
    assert "'trian'" in reported and "'other'" in reported and "did you mean 'train'" in reported


def test_a_torn_lock_is_a_sentence(checkout):
    write_text(checkout / "dvc.lock", "<<<<<<< HEAD\nstages: [\n")
    assert "dvc.lock" in opened("provenance").error[-1].value


def test_a_lock_of_another_shape_is_a_sentence(checkout):
    write_text(checkout / "dvc.lock", "[1, 2]\n")
    assert "has no stages" in opened("provenance").error[-1].value


def commit(root: Path, message: str) -> str:
    git = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org")
    for arguments in (("init", "-q"), ("add", "-A"), ("commit", "-qm", message)):
        subprocess.run((*git, *arguments), cwd=root, check=True, capture_output=True)
    head = subprocess.run(
        ("git", "rev-parse", "HEAD"), cwd=root, check=True, capture_output=True, text=True
    )
    return head.stdout.strip()


def test_results_say_which_commit_made_them_and_whether_it_is_here(fresh):
    troubled(fresh)
    head = commit(fresh, "Say *what* <b>this</b> is")
    for seed in SEEDS:
        change(fresh, "control", seed, code__commit=head, code__dirty=False)
    change(fresh, "agc", 1, code__commit="f" * 40, code__dirty=True)
    app = opened("provenance")
    table = columns(app, "commit").set_index("commit")
    assert table.loc[head[:12], "is"] == "✓ in this history"
    assert table.loc[head[:12], ["results", "tree"]].tolist() == [3, "clean"]
    assert table.loc["f" * 12, "is"] == "≠ not in this history"
    assert table.loc["f" * 12, "tree"] == "1 not clean"
    assert table.loc["none", "is"] == "? made without git"
    assert "1 of 6 results" in app.warning[0].value
    shown = "".join(str(item.value) for item in (*app.markdown, *app.caption))
    assert r"\<b\>" in shown and "<b>" not in shown


def test_differences_between_environments_are_pointed_out(fresh):
    two_by_three(fresh)
    for arm in ("control", "agc"):
        for seed in SEEDS:
            facts = {"commit": "a" * 40, "device": "cpu" if seed < 3 else "cuda",
                     "python": "3.11.7", "versions": {"torch": "2.13.0"}}  # fmt: skip
            write_json(fresh / "runs" / arm / f"s{seed}" / "environment.json", facts)
    app = opened("provenance")
    assert "6 of 6 environments are available. They differ in device" in app.warning[0].value
    table = next(t.value for t in app.dataframe if list(t.value) == ["what", "value", "runs"])
    assert table.values.tolist() == [["device", "cpu", 4], ["device", "cuda", 2]]
    assert "python" not in app.warning[0].value


def test_environments_that_are_not_here_say_where_they_are(fresh):
    two_by_three(fresh)
    assert "No environments are stored here for the 6 results" in opened("provenance").info[1].value


# --- pieces -----------------------------------------------------------------------------------


def test_the_graph_flows_from_left_to_right():
    boxes = [
        drawing.Box("simulate", {"fresh": 1}, ()),
        drawing.Box("fingerprint", {"fresh": 1}, ()),
        drawing.Box("data", {"fresh": 1}, ("simulate",)),
        drawing.Box("train", {"fresh": 2, "stale": 1}, ("data", "fingerprint")),
    ]
    at = drawing.places(boxes)
    assert at["simulate"][0] == at["fingerprint"][0] < at["data"][0] < at["train"][0]
    assert at["simulate"][1] != at["fingerprint"][1]
    drawn, width = drawing.svg(boxes, "train", "#000")
    assert drawn.count("<rect") == 4 + 5 and width == at["train"][0] + drawing.WIDTH + drawing.EDGE


def test_a_stage_name_is_text_in_the_picture():
    box = drawing.Box("<script>", {"fresh": 1}, ())
    assert "<script>" not in drawing.svg([box], None, "#000")[0]
    assert '"><x' not in drawing.page([box], None, 'a"><x', "#000")


def test_a_container_is_told_by_its_traces_and_its_variable(tmp_path, monkeypatch):
    monkeypatch.delenv(machine.IMAGE, raising=False)
    assert machine.container(tmp_path).sentence == "The app does not run in a container."
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".containerenv").touch()
    assert machine.IMAGE in machine.container(tmp_path).sentence
    monkeypatch.setenv(machine.IMAGE, "study@sha256:abc")
    assert machine.container(tmp_path).sentence == "The app runs in the image study@sha256:abc."


def test_packages_are_compared_with_every_version_that_the_lock_allows(tmp_path, monkeypatch):
    have = {"torch": "2.13.0+cpu", "numpy": "2.4.6", "scipy": "1.0"}
    monkeypatch.setattr(machine.environment, "version", have.get)
    lines = [
        "torch==2.13.0",
        'numpy==2.4.6 ; python_full_version < "3.12"',
        'numpy==2.5.5 ; python_full_version >= "3.12"',
        "scipy==1.1",
        'pywin32==3 ; sys_platform == "win32"',
        "absent==1",
    ]
    write_text(tmp_path / "requirements-cpu.txt", "\n".join(lines))
    found = machine.packages(tmp_path)
    assert found is not None and found.differing == (("scipy", "1.1", "1.0"),)
    assert found.absent == ("absent",) and found.installed == 3


def test_a_branch_and_a_change_that_a_run_would_not_be_clean_with_are_seen(fresh):
    from app import load
    from app.provenance import reading

    def git(*words: str) -> None:
        who = ("-c", "user.name=t", "-c", "user.email=t@t")
        subprocess.run(("git", *who, *words), check=True, capture_output=True)

    write_text(fresh / "studies" / "params.yaml", "a: 1\n")
    git("init", "-qb", "main")
    git("add", "-A")
    git("commit", "-qm", "study")
    assert reading.history().branch == "main" and load.standing().dirty == ""
    git("switch", "-qc", "other")
    assert reading.history().branch == "other"
    load.st.cache_data.clear()
    write_text(fresh / "studies" / "params.yaml", "a: 2\n")
    assert load.standing().dirty == "not as committed: studies/params.yaml"


def test_a_shallow_or_absent_history_cannot_tell():
    known = environments.History(None, None, {}, whole=False)
    assert environments.standing("a" * 40, known)[0] == "unknown"


# --- what is not here -------------------------------------------------------------------------


def unpulled(root: Path) -> None:
    """Both arms' runs are recorded and not here."""
    for key in ("one", "two"):
        (root / "runs" / key / "w").unlink()
        (root / "runs" / key).rmdir()


def pull_file(root: Path, **facts: object) -> str:
    """The status file of a pull as `study pull --status` writes it, alive while this test is."""
    process = psutil.Process()
    name = "1700000000-0123abcd"
    first = {"names": ["one"], "phase": "moving", "done": 3, "total": 12, "size": 42}
    alive = {"pid": process.pid, "pid_started": process.create_time()}
    write_json(root / "work" / "pull" / f"{name}.json", {**first, **alive, **facts})
    return name


@pytest.fixture
def loopback(monkeypatch):
    """The address of the project's own .streamlit/config.toml, which a test folder lacks."""
    monkeypatch.setenv("ARMATURE_PUBLISHED_ON_LOOPBACK", "1")


def test_what_is_not_here_has_one_button(checkout, loopback):
    unpulled(checkout)
    app = opened("provenance")
    assert "2 recorded outputs are missing" in texts(app)
    assert app.button(key="pull").label.startswith("Pull 2 (")
    app.multiselect(key="pull_names").set_value(["two"]).run()
    assert app.button(key="pull").label.startswith("Pull 1 (")


def test_reading_alone_hides_what_starts_and_stops(checkout, monkeypatch):
    monkeypatch.setenv("ARMATURE_READ_ONLY", "1")
    unpulled(checkout)
    pull_file(checkout, state="running")
    app = opened("provenance")
    assert not app.button and "ARMATURE_READ_ONLY" in texts(app)


def test_a_running_pull_shows_its_progress_and_can_be_cancelled(checkout, loopback):
    unpulled(checkout)
    pull_file(checkout, state="running")
    app = opened("provenance")
    assert [button.key for button in app.button] == ["pull_cancel"]
    bar = app.get("progress")[0].proto
    assert bar.value == 25 and "3 of 12 objects" in bar.text


def test_a_failed_pull_says_why_and_can_be_asked_again(checkout, loopback):
    unpulled(checkout)
    cause = "remote 'lab' cannot be reached: $HOME/<b>x</b>"
    pull_file(checkout, state="failed", cause=cause, lines=["asking lab", "no answer"])
    app = opened("provenance")
    reported = next(error.value for error in app.error if rendered(error.value) == cause)
    assert "\\<b" in reported
    assert app.code[-1].value == "asking lab\nno answer" and app.button(key="pull")


@pytest.mark.parametrize(
    ("counts", "shown"),
    [
        ({"fresh": 3, "stale": 23}, "3 fresh"),
        ({"stale": 23, "not pulled": 3}, "3<"),
        ({"fresh": 100, "stale": 200}, "100 "),
    ],
)
def test_the_counts_of_a_box_fit_into_it(counts, shown):
    box = drawing.Box("train", counts, ())
    drawn = drawing.svg([box], None, "#000")[0]
    line = drawn[drawn.index('font-size="12.5"') :]
    assert shown in line
    characters = len(re.sub("<[^>]*>", "", line[line.index(">") + 1 :]))
    assert 6.4 * characters < drawing.WIDTH - 24  # px at this size


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1500, "1.5 kB"),
        (65_100_000, "65.1 MB"),
        (2e9, "2.0 GB"),
    ],
)
def test_sizes_have_a_unit_that_suits_them(size, words):
    from app.provenance.views import size_text

    assert size_text(int(size)) == words


def test_a_pull_with_impossible_counts_shows_no_progress(checkout):
    process = psutil.Process()
    content = {
        "names": ["one"], "state": "running", "phase": "moving", "done": -5, "total": 3,
        "pid": process.pid, "pid_started": start_time(process),
    }  # fmt: skip
    write_json(checkout / "work" / "pull" / "1700000000-0a0b0c0d.json", content)
    assert opened("provenance", pipeline="root").get("progress")
