"""One made pipeline folder and its report, shared by the tests of this room."""

from __future__ import annotations

from pathlib import Path

import made
import pytest

from study.formats.dataset import Dataset
from study.report.build import write_report
from study.settings import Arm


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory, tiny: Dataset, control: Arm) -> Path:
    """A pipeline folder with recorded studies; shared, so no test may change it."""
    return made.pipeline(tmp_path_factory.mktemp("pipeline"), tiny, control)


@pytest.fixture(scope="session")
def report(pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of its report."""
    out = tmp_path_factory.mktemp("report") / "report"
    write_report(pipeline, out)
    return out
