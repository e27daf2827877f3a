"""The command line: a mistake is a sentence and exit code 2, and nothing is written."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from pipeline.toy import PARAMS
from study import cli
from study.runs import environment

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run `study ARGUMENTS` in this process: (exit code, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["study", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline folder with the toy settings and its simulated data."""
    from study.settings import load_study
    from study.stages.simulate import simulate_all

    folder = tmp_path_factory.mktemp("made")
    (folder / "params.yaml").write_text(PARAMS)
    simulate_all(load_study(folder / "params.yaml"), folder / "data")
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "--arm", "control", "--arm", "agc"),
        ("train", "--arm", "control", "--jobs", "1", "--jobs", "2"),
        ("arms", "new", "x", "--from", "control", "--from", "agc"),
    ],
)
def test_an_option_that_is_no_list_is_given_once(
    here: Path, call: Call, arguments: tuple[str, ...]
) -> None:
    before = sorted(here.rglob("*"))
    code, _, errors = call(*arguments)
    assert code == 2 and "2 times" in errors
    assert sorted(here.rglob("*")) == before


def test_a_list_option_is_repeated(here: Path, call: Call) -> None:
    code, _, errors = call("train", "--arm", "none_such", "--seed", "1", "--seed", "2")
    assert code == 2 and "none_such" in errors


def snapshot(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def refused(call: Call, here: Path, says: str, *arguments: object) -> None:
    before = snapshot(here)
    code, _, err = call(*arguments)
    assert code == 2, err
    assert says in err and "Traceback" not in err
    assert snapshot(here) == before


def edit(here: Path, old: str, new: str) -> None:
    file = here / "params.yaml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("epochs: 2", "epoch: 2", "did you mean 'epochs'"),
        ("epochs: 2", "epochs: two", "arms.control.epochs"),
        ("epochs: 2", "epochs: 0", "arms.control.epochs"),
        ("name: hybrid", "name: hybird", "did you mean 'hybrid'"),
        ("fno_blocks: 2", "fno_block: 2", "did you mean 'fno_blocks'"),
        ("modes: 4,", "", "modes"),
        ("algorithm: norm", "algorithm: nrom", "did you mean 'norm'"),
        ("name: constant", "name: constnt", "did you mean 'constant'"),
        ("name: adam", "name: adan", "did you mean 'adam'"),
        ("fno_blocks: 2", "fno_blocks: 8", "16"),
        ("gradient_clip_val: 1.0", "gradient_clip_val: null", "needs a gradient_clip_val"),
        ("data: data/toy", "data: ../../etc", "accepted: data/NAME or imported/NAME"),
    ],
)
def test_a_mistake_in_params_is_refused_before_training(call, here, old, new, says):
    edit(here, old, new)
    refused(call, here, says, "train", "--arm", "control")


def test_an_unknown_arm_gets_the_nearest_name(call, here):
    refused(call, here, "did you mean 'control'", "train", "--arm", "contrl")
    refused(call, here, "no arm '../control'", "train", "--arm", "../control")
    refused(call, here, "no seed 9", "train", "--arm", "control", "--seed", "9")


def test_one_arm_that_cannot_start_starts_none(call, here):
    refused(call, here, "did you mean 'control'", "launch", "control", "contrl")
    assert not (here / "work").exists()


def test_a_training_alone_asks_for_the_fingerprint(call, here):
    shutil.rmtree(here / "fingerprints", ignore_errors=True)
    refused(call, here, "no fingerprint yet", "train", "--arm", "control", "--only", "train")


def test_devices_that_are_not_there_or_not_needed_are_refused(call, here, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("study.runs.environment.cores", lambda: 32)
    train = ("train", "--arm", "control", "--devices")
    refused(call, here, "has 32 cores and no GPU; accepted: 1 to 32", *train, "33")
    refused(call, here, "a batch of this arm has 16 patterns", *train, "17")
    refused(call, here, "'--devices'", *train, "0")
    refused(call, here, "not a network", "train", "--arm", "flat", "--devices", "2")


@pytest.mark.slow
@pytest.mark.skipif(environment.cores() < 2, reason="two processes need two cores")
def test_a_run_on_two_devices_is_an_ordinary_run(here):
    """As real processes: a run forks and starts others, which a test process with threads should
    not."""
    train = [sys.executable, "-m", "study", "train", "--arm", "control", "--seed", "1"]
    environ = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    for extra in (["--devices", "2"], []):  # found the second time: devices are no setting
        done = subprocess.run(
            [*train, *extra], cwd=here, env=environ, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stderr
        assert "control seed 1: finished" in done.stdout
        settings = (here / "runs/control/s1/params.yaml").read_text()
        assert "devices: 2" in settings


def test_a_data_set_made_from_other_parameters_is_named(call, here):
    edit(here, "noise_seed: 4", "noise_seed: 5")
    refused(call, here, "noise_seed is 4 there and 5 in the request", "simulate", "--out", "data")


def test_a_full_disk_is_seen_before_training(call, here, monkeypatch):
    usage = shutil.disk_usage(here)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    refused(call, here, "free some space", "train", "--arm", "control")


def test_an_absent_data_set_says_how_to_get_it(call, here):
    shutil.rmtree(here / "data")
    refused(call, here, "manifest.json is absent", "train", "--arm", "control")


# --- import -----------------------------------------------------------------------------------


def scan(**changes: np.ndarray) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    y, x = np.mgrid[0:4, 0:4] * 3.0
    arrays = {
        "data": generator.poisson(50, (16, 16, 16)).astype(np.float32),
        "probe": np.ones((16, 16), np.complex64),
        "scan": np.stack([y.ravel(), x.ravel()], axis=1).astype(np.float32),
    }
    return {**arrays, **changes}


BAD_SCANS: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "non-finite": ({"data": np.full((16, 16, 16), np.nan, np.float32)}, "masked"),
    "negative": ({"data": np.full((16, 16, 16), -1, np.float32)}, "masked"),
    "not square": ({"data": np.ones((16, 16, 12), np.float32)}, "square"),
    "shapes differ": ({"scan": np.zeros((5, 2), np.float32)}, "positions"),
    "zero probe": ({"probe": np.zeros((16, 16), np.complex64)}, "probe"),
    "non-finite positions": ({"scan": np.full((16, 2), np.inf, np.float32)}, "finite"),
}


# The patterns above are noise and tell nothing.
CONVENTIONS = (
    *("--values", "counts", "--zero-frequency", "centre", "--beam-offset", "0", "0"),
    *("--frame-orientation", "as_stored", "--position-order", "yx", "--position-flip", "none"),
)


@pytest.mark.parametrize("kind", BAD_SCANS)
def test_a_bad_scan_is_refused(call, here, kind):
    changes, says = BAD_SCANS[kind]
    np.savez(here / "scan.npz", **scan(**changes))
    refused(call, here, says, "import", "scan.npz", "--as", "mine", "--no-track")


def test_files_that_are_no_scans_are_refused(call, here):
    np.savez(here / "whole.npz", **scan())
    whole = (here / "whole.npz").read_bytes()
    (here / "cut.npz").write_bytes(whole[: len(whole) // 2])
    np.savez(here / "pickled.npz", data=np.array([{"a": 1}], dtype=object))
    with h5py.File(here / "empty.cxi", "w") as file:
        file["nothing"] = 1
    (here / "text.npz").write_text("hello")
    for name in ("cut.npz", "pickled.npz", "empty.cxi", "text.npz", "absent.npz"):
        refused(call, here, name, "import", name, "--as", "mine", "--no-track")
    refused(call, here, "is not a name", "import", "whole.npz", "--as", "../mine", "--no-track")


def test_a_good_scan_is_imported_once(call, here):
    np.savez(here / "scan.npz", **scan())
    command = ("import", "scan.npz", "--as", "mine", "--no-track", *CONVENTIONS)
    code, out, err = call(*command)
    assert code == 0, err
    assert "16 patterns of 16 px" in out
    first = snapshot(here)
    code, _, err = call(*command)
    assert code == 0, err
    assert snapshot(here) == first, "the same command again changes nothing"
    other = ["amplitudes" if value == "counts" else value for value in command]
    assert tuple(other) != command
    refused(call, here, "mine", *other)
    np.savez(here / "scan.npz", **scan(probe=np.full((16, 16), 2, np.complex64)))
    refused(call, here, "mine", *command)


def test_a_scan_that_does_not_tell_its_conventions_is_refused(call, here):
    """Noise: the table of the best readings names the options that accept one."""
    np.savez(here / "scan.npz", **scan())
    refused(call, here, "--accept", "import", "scan.npz", "--as", "mine", "--no-track")


# --- score, reconstruct, the rest -------------------------------------------------------------


def test_score_prints_one_json_object_of_numbers(call, here):
    obj = np.random.default_rng(1).normal(size=(40, 40, 2)) @ [1, 1j] + 3
    np.savez(here / "truth.npz", object=obj)
    np.savez(here / "guess.npz", object=obj * 1.01)
    for metrics in ("published", "standard"):
        code, out, err = call("score", "guess.npz", "truth.npz", "--metrics", metrics, "--json")
        assert code == 0, err
        scores = json.loads(out)
        assert {"amplitude", "phase", "gate"} <= scores.keys()
        assert set(scores["amplitude"]) == {"mae", "mse", "psnr", "ssim", "ms_ssim", "frc50"}
        values = [*scores["amplitude"].values(), *scores["phase"].values()]
        assert all(value is None or isinstance(value, float) for value in values)
    refused(call, here, "no metric set", "score", "guess.npz", "truth.npz", "--metrics", "mine")
    refused(call, here, "absent.npz", "score", "absent.npz", "truth.npz")


def test_a_constant_amplitude_scores_as_published_and_is_not_evaluable(call, tmp_path, monkeypatch):
    """Physics, section 6: what any constant scores on the test object of the full-scale set."""
    from study.simulate.objects import grid_lines

    monkeypatch.chdir(tmp_path)
    obj = grid_lines(2, images=1, object_px=392, canvas_px=784, lines=400, phase=True)
    truth = np.asarray(obj).reshape(392, 392)[27:357, 27:357]
    np.savez("truth.npz", object=truth.astype(np.complex64))
    np.savez("flat.npz", object=np.full(truth.shape, 1.5, np.complex64))
    _, out, _ = call("score", "flat.npz", "truth.npz", "--metrics", "published", "--json")
    published = json.loads(out)
    assert published["amplitude"]["ssim"] == pytest.approx(0.2771, abs=1e-3)
    assert published["amplitude"]["mae"] == pytest.approx(0.5131, abs=1e-3)
    _, out, _ = call("score", "flat.npz", "truth.npz", "--metrics", "standard", "--json")
    standard = json.loads(out)
    assert standard["amplitude"]["ssim"] is None
    assert "not evaluable" in standard["reasons"]["amplitude.ssim"]


def test_rpie_gives_both_r_factors(call, here):
    code, out, err = call(
        "reconstruct", "rpie", "data/toy", "--out", "rpie.npz", "--json", "--passes", "3"
    )
    assert code == 0, err
    facts = json.loads(out)
    assert 0 < facts["r_factor_fitted"] < 1 and 0 < facts["r_factor_held_out"] < 1
    with np.load("rpie.npz", allow_pickle=False) as stored:
        assert stored["object"].ndim == 2 and np.iscomplexobj(stored["object"])
    refused(call, here, "neither `rpie` nor", "reconstruct", "x", "data/toy", "--out", "o.npz")


def test_check_tells_parameters_and_memory(call, here):
    code, out, err = call("arms", "check", "control", "--json")
    assert code == 0, err
    facts = json.loads(out)
    assert facts["parameters"] > 0 and facts["memory_mb"] > 0 and facts["channels"][:2] == [4, 8]


def test_every_command_has_help_and_opens_without_torch():
    code = (
        "import sys; sys.argv = ['study', '--help']\n"
        "from study import cli\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules and 'pandas' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in (
        "simulate",
        "import",
        "train",
        "reconstruct",
        "score",
        "arms",
        "findings",
        "explain",
        "verify",
        "doctor",
        "clean",
        "launch",
        "runs",
        "stop",
        "retry",
        "resume",
    ):
        assert f"\n  {name} " in done.stdout


def test_doctor_is_healthy_without_remote_gpu_or_data(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = call("doctor")
    assert code == 0
    assert "remote: none is configured" in out and "torch" in out


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"margin": 0.02}, "claims.A-1: margin is 0.02, without a unit"),
        ({"margin": {"value": 0.02, "unit": "rad"}}, "mae in 'object units'"),
        ({"metric": "last.standard.amplitude.maee"}, "did you mean 'last.standard.amplitude.mae'"),
        ({"arms": {"treatment": "contrl", "control": "flat"}}, "did you mean 'control'"),
        ({"arms": {"treatment": "studies/control", "control": "flat"}}, "no arm 'studies/control'"),
    ],
)
def test_a_bad_claim_is_refused_and_no_findings_are_written(call, here, changes, says):
    claim = {
        "text": "It is better.",
        "kind": "exploratory",
        "family": "error",
        "arms": {"treatment": "control", "control": "flat"},
        "metric": "last.standard.amplitude.mae",
        "direction": "lower",
        "margin": {"value": 0.02, "unit": "object units"},
        "needed_seeds": 8,
        "evidence": "mean_difference",
    }
    (here / "claims.yaml").write_text(json.dumps({"claims": {"A-1": {**claim, **changes}}}))
    refused(call, here, says, "findings")
    assert not (here / "findings.json").exists()


def commands_of(group) -> list:
    nested = [commands_of(one) for one in group.commands.values() if hasattr(one, "commands")]
    return [*group.commands.values(), *(one for found in nested for one in found)]


def test_help_lists_every_command_once_on_one_line():
    main = get_command(cli.app)
    text = CliRunner().invoke(cli.app, ["--help"], env={"COLUMNS": "80"}).stdout
    for name in main.commands:
        assert len(re.findall(rf"^  {name} +\S", text, re.MULTILINE)) == 1
    for command in commands_of(main):
        assert not command.get_short_help_str(limit=cli.LINE).endswith("..."), command.name
