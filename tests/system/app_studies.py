"""The checkouts that the browser sees.

AppStudy: a toy clone with DVC and git, whose arms are trained as a user's would be
    control    two seeds, two epochs
    long       would train for hours: there to be stopped
GoalStudy: one more, with a goal among its claims
stored: results stored by hand, with objects and data; nothing was trained
    control, better    fine
    dead               its object is a constant
    lost               failed: its loss became NaN
    flat               the floor
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.checkouts import Checkout
from pipeline.toy import PARAMS, make_toy
from study.formats.dataset import Dataset
from study.jobs import jobs
from study.runs import RunFolder, write_text
from study.settings import Arm
from study.stages.findings import write_findings
from system.app_server import ROOT

CONTROL, _, _ = PARAMS.partition("\n  cnn:")
LONG = """
  long:
    <<: *arm
    asks: Does Stop stop?
    versus: control
    changes: [epochs]
    seeds: [1]
    epochs: 100000
"""
GOAL = """headline: [GOAL-001]
claims:
  GOAL-001:
    text: The control ends at an amplitude error of at most 5 object units.
    kind: exploratory
    family: goal
    arms: {treatment: control, control: bound}
    bound: 5
    metric: last.standard.amplitude.mae
    direction: lower
    margin: {value: 1, unit: object units}
    needed_seeds: 6
    evidence: bound
"""
CLAIM = """claims:
  BETTER-001:
    text: Twice the learning rate ends at a lower amplitude error.
    kind: exploratory
    family: rate
    arms: {treatment: better, control: control}
    metric: last.standard.amplitude.mae
    direction: lower
    margin: {value: 0.02, unit: object units}
    needed_seeds: 8
    changes: [optimizer.lr]
    evidence: mean_difference
"""


class AppStudy(Checkout):
    """The toy clone. Making it trains, scores, judges and commits the control."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True)
        self.toy = make_toy(path, f"{CONTROL}\n{LONG}")
        self.root = path
        self.toy.must("dvc", "repro", "-q", "data.dvc")
        [job] = self.launch("control")
        ended = self.over(job)
        assert ended.state == "done", ended.cause
        self.toy.commit("reproduced")

    def stop_all(self) -> None:
        """Leave nothing at work behind."""
        for job in [job for job in jobs(self.root) if not job.over]:
            self.study("stop", job.id)
            self.over(job.id)


class GoalStudy(AppStudy):
    """A toy clone whose first page states a goal.

    Claims about one metric have to agree on their margin, so in a shared clone the goal would
    change what the forms accept.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        write_text(path / "claims.yaml", GOAL)  # before the runs it would be refused: two seeds
        self.toy.must("dvc", "repro", "-q", "-s", "findings")
        self.toy.commit("judged")


@contextmanager
def at_work(root: Path, arm: str, seed: int) -> Iterator[RunFolder]:
    """The folder of a run that says it is at work (this process is it); gone afterwards."""
    run = RunFolder(root / "work" / "by_hand")
    run.start(arm, seed, 2, {})
    try:
        yield run
    finally:
        shutil.rmtree(run.path)


def stored(folder: Path, dataset: Dataset, control: Arm) -> None:
    """Fill the empty `folder`."""
    sys.path[:0] = [str(ROOT / "tests" / name) for name in ("app", "evidence", "report")]
    from checkouts import reconstructed  # pyright: ignore[reportMissingImports]

    reconstructed(folder, dataset, control)
    shutil.copytree(ROOT / ".streamlit", folder / ".streamlit")
    write_text(folder / "claims.yaml", CLAIM)
    write_findings(folder)
