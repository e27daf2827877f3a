"""The options of a scan file: one object for every command that reads one."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path

import pytest

from study.cli.data import import_scan
from study.cli.runs import reconstruct
from study.cli.scan_options import ScanOptions
from study.formats.import_options import Overrides
from study.formats.scan_request import ScanRequest
from study.settings import UserError
from study.stages.apply import apply_source


@pytest.mark.parametrize("command", [import_scan, reconstruct])
def test_a_command_has_one_option_per_field(command: object) -> None:
    parameters = inspect.signature(command).parameters  # type: ignore[arg-type]
    assert {each.name for each in fields(ScanOptions)} <= set(parameters)
    assert "options" not in parameters


def test_only_what_is_given_is_requested() -> None:
    assert ScanOptions().request() == ScanRequest()
    assert ScanOptions().request().given() == []
    request = ScanOptions(values="counts", bin=2, crop=64, probe=Path("p.npz")).request()
    assert request.overrides == {"values": "counts", "bin": 2}
    assert set(request.given()) == {"values", "bin", "crop_px", "probe"}


def test_every_override_but_the_dose_is_an_option() -> None:
    names = {each.name for each in fields(ScanOptions)}
    assert set(Overrides.model_fields) - {"photons_per_pattern"} <= names


def test_options_of_a_scan_are_refused_for_a_data_set(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="values"):
        apply_source(
            "rpie", tmp_path, tmp_path / "o.npz", "last", {}, ScanRequest({"values": "counts"})
        )


@pytest.mark.parametrize("out", ["params.yaml", "train.cxi", "folder", "set.npz", "scan.npz"])
def test_a_reconstruction_replaces_no_other_file(tmp_path: Path, out: str) -> None:
    """Refused before the scan is opened: it does not exist or is not a scan."""
    (tmp_path / "params.yaml").write_text("mine")
    (tmp_path / "set.npz").mkdir()
    (tmp_path / "scan.npz").write_text("mine")
    with pytest.raises(UserError, match="--out"):
        apply_source("rpie", tmp_path / "scan.npz", tmp_path / out, "last", {})
    assert (tmp_path / "params.yaml").read_text() == (tmp_path / "scan.npz").read_text() == "mine"
