"""A study on a real Slurm of one node: interrupted in every way, and equal to one that was not.

One test, one story, because Slurm lets a requeued job wait for two minutes: all waits at once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.toy import PARAMS, Toy, make_toy
from study.jobs import find_job, jobs, run_rows, supervisor_state
from study.jobs.models import Job
from study.jobs.rows import RunRow
from study.jobs.slurm_snapshot import SnapshotTask, read_snapshot
from study.runs import RunFolder
from study.runs.identity import identity_of
from study.runs.provenance import read_provenance, seed_file
from system.slurm_node import SlurmNode, missing_programs, wait_for

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing_programs()), reason=f"missing: {missing_programs()}"),
]

EPOCHS = 100
# Learning rates tell the arms apart: equal settings would be one run.
ARMS = {
    "killed": ("[1, 2]", 0.0012),
    "stopped": ("[1]", 0.0011),
    "signalled": ("[1]", 0.0013),
    "evicted": ("[1]", 0.0014),
}
BLOCK = """
  {name}:
    <<: *arm
    asks: Is it the same?
    versus: control
    changes: [optimizer.lr]
    seeds: {seeds}
    optimizer: {{name: adam, lr: {lr}}}
"""
LAUNCH = """
slurm:
  at_once: 2
  resources: {minutes: 10, cpus: 1}
  arms:
    evicted: {partition: spare}
"""
CPUS = 6
SECONDS = 900.0


def params() -> str:
    """The toy's data and control, and four arms like it that last long enough to be interrupted."""
    head = PARAMS.partition("\n  cnn:")[0].replace("epochs: 2\n", f"epochs: {EPOCHS}\n")
    blocks = [BLOCK.format(name=name, seeds=seeds, lr=lr) for name, (seeds, lr) in ARMS.items()]
    return head + "".join(blocks)


@pytest.fixture(scope="module")
def node() -> Iterator[SlurmNode]:
    with SlurmNode(CPUS) as started:
        yield started


@pytest.fixture(scope="module")
def toy(node: SlurmNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toy]:
    toy = make_toy(tmp_path_factory.mktemp("slurm") / "toy", params())
    own = Path(sys.executable).parent
    toy.environment["PATH"] = f"{own}{os.pathsep}{node.environment['PATH']}"
    toy.environment["SLURM_CONF"] = node.environment["SLURM_CONF"]
    toy.must("dvc", "repro", "-q", "data.dvc", "fingerprint")
    (toy.path / "launch.yaml").write_text(LAUNCH)
    toy.commit("data")
    yield toy
    word = supervisor_state(toy.path)
    if word is not None and word.running:
        os.kill(word.pid, signal.SIGKILL)


class Story:
    """What the test looks at and does, all through files, the command line and Slurm itself."""

    def __init__(self, toy: Toy, node: SlurmNode) -> None:
        self.toy, self.node = toy, node
        self.held: set[str] = set()
        self.over = threading.Event()

    def __enter__(self) -> Story:
        self.holder = threading.Thread(target=self.hold, daemon=True)
        self.holder.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.holder.join()

    def job(self, arm: str) -> Job:
        return find_job(
            self.toy.path, [job.id for job in jobs(self.toy.path) if job.arm == arm][-1]
        )

    def row(self, arm: str) -> RunRow:
        return next(row for row in run_rows(self.toy.path) if (row.arm, row.seed) == (arm, 1))

    def task(self, arm: str, seed: int = 1) -> SnapshotTask | None:
        found = read_snapshot(self.toy.path, self.job(arm).id)
        return found.of(seed) if found else None

    def epoch(self, arm: str) -> int:
        """Of the first seed while it trains, else 0."""
        rows = [row for row in run_rows(self.toy.path) if (row.arm, row.seed) == (arm, 1)]
        return rows[0].epoch if rows and rows[0].state == "running" else 0

    def waits_again(self, arm: str) -> bool:
        task = self.task(arm)
        return task is not None and task.waits and "requeued" in task.words

    def must_have(self, arm: str, seed: int = 1) -> SnapshotTask:
        task = self.task(arm, seed)
        assert task is not None, f"{arm} was not submitted\n{self.report()}"
        return task

    def waits_for(self, arm: str) -> None:
        """Until an arm trains, and is held there."""
        self.until(lambda: arm in self.held, f"{arm} trains")

    def hold(self) -> None:
        """Hold the first seed of every arm in its second epoch or later, once: on a fast machine
        it would be over before it can be disturbed. Slurm's TERM comes with a CONT."""
        while not self.over.wait(0.05):
            for arm in ARMS:
                if arm not in self.held and self.epoch(arm) >= 2:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        self.trainer(arm).suspend()
                    self.held.add(arm)

    def trainer(self, arm: str) -> psutil.Process:
        """The process that trains seed 1 of an arm."""
        folder = self.row(arm).folder
        assert folder is not None
        return psutil.Process(RunFolder(folder).status()["pid"])

    def kill_supervisor(self) -> None:
        word = supervisor_state(self.toy.path)
        assert word is not None
        os.kill(word.pid, signal.SIGKILL)

    def until(self, true, what: str) -> None:
        wait_for(true, f"{what}\n{self.report()}", SECONDS)

    def report(self) -> str:
        """The jobs, and what their tasks printed last."""
        lines = [
            f"{job.id}: {job.state} {job.note or ''} {job.cause or ''}"
            for job in jobs(self.toy.path)
        ]
        for log in sorted((self.toy.path / "work" / "slurm").glob("*_log.out")):
            text = [line for line in log.read_text().splitlines() if " epoch " not in line]
            lines += [f"== {log.name}", *text[-20:]]
        return "\n".join(lines)


def test_an_interrupted_study_ends_as_an_undisturbed_one(toy: Toy, node: SlurmNode) -> None:
    calm = Calm(toy)
    with Story(toy, node) as story:
        disturb(story)
        calm.train()  # meanwhile Slurm lets the requeued tasks wait
        story.until(lambda: all(story.job(arm).over for arm in ARMS), "every job ends")
    print(story.report())
    states = {arm: story.job(arm).state for arm in ARMS}
    assert states == dict.fromkeys(ARMS, "done"), story.report()
    assert story.job("killed").attempts == 2, "a killed trainer is submitted again"
    for arm, (seeds, _) in ARMS.items():
        assert calm.equal(arm, len(seeds.split(","))), f"{arm} is bit-equal to its calm twin"
        assert resumed(toy, arm), f"{arm} was disturbed"
    assert not [stage for stage in toy.repro() if stage.partition("@")[2] in ARMS], "all committed"


def disturb(story: Story) -> None:
    toy, node = story.toy, story.node
    toy.must("study", "launch", *ARMS, "--executor", "slurm")

    # The array keeps to its limit, and says so; other resources are another array.
    story.waits_for("killed")
    story.until(lambda: story.row("signalled").cause, "the supervisor has looked")
    tasks = [
        story.must_have(arm, seed) for arm, seed in (("killed", 1), ("killed", 2), ("stopped", 1))
    ]
    array = {task.id.partition("_")[0] for task in tasks}
    assert len(array) == 1, "jobs that start together share one array"
    assert story.must_have("evicted").id not in array
    assert story.must_have("signalled").waits, "two at once"
    assert "JobArrayTaskLimit" in (story.row("signalled").cause or "")
    row = story.row("killed")
    assert row.state == "running" and (row.cause or "").startswith("on "), row

    # A trainer is killed while its supervisor is, too; the next one finds the tasks by their ids.
    story.kill_supervisor()
    story.trainer("killed").kill()
    toy.must("study", "resume")

    # A real preemption: the partition `high` takes the core, with a grace time.
    story.waits_for("evicted")
    node.say(
        "sbatch", "--partition=high", f"--cpus-per-task={CPUS - 2}", "--output=/dev/null",
        "--wrap", "sleep 2",
    )  # fmt: skip
    story.until(lambda: story.waits_again("evicted"), "Slurm requeued the preempted task")

    story.waits_for("stopped")
    stopped = story.must_have("stopped").id
    toy.must("study", "stop", "stopped")
    story.waits_for("signalled")
    node.say("scancel", "--signal=USR2", story.must_have("signalled").id)
    story.trainer("signalled").resume()
    story.until(lambda: story.waits_again("signalled"), "the signalled task is requeued")

    story.until(lambda: story.job("stopped").over, "the stopped job ends")
    assert story.job("stopped").state == "cancelled"
    assert "CANCELLED" in node.say("scontrol", "show", "job", stopped)
    toy.must("study", "retry", "stopped")


def resumed(toy: Toy, arm: str) -> bool:
    known = read_provenance(seed_file(toy.path, arm, 1))
    return known is not None and known.resumed > 0


class Calm:
    """The same checkout, trained without a cluster and without a disturbance."""

    def __init__(self, toy: Toy) -> None:
        self.stormy = toy.path
        path = toy.path.with_name("calm")
        shutil.copytree(toy.path, path, symlinks=True)
        self.toy = Toy(path)

    def train(self) -> None:
        """In one process: torch is imported once."""
        code = (
            "from pathlib import Path; from study.stages.train import train_arm; "
            f"[train_arm(Path(), arm, at_once=1, only='train') for arm in {tuple(ARMS)}]"
        )
        self.toy.must("python", "-c", code)

    def equal(self, arm: str, seeds: int) -> bool:
        """Reconstructions of best and last weights, and every epoch's losses, to the last bit."""
        for seed in range(1, seeds + 1):
            calm = identity_of(self.toy.path, arm).live(seed)
            assert calm is not None
            if self._content(calm.path) != self._content(self.stormy / "runs" / arm / f"s{seed}"):
                return False
        return True

    def _content(self, run: Path) -> tuple[object, ...]:
        import pandas

        history = pandas.read_csv(run / "history.csv")
        assert len(history) == EPOCHS
        images = [(run / f"object_{name}.npz").read_bytes() for name in ("best", "last")]
        return (history.to_csv(), *images)


def test_what_slurm_refuses_is_a_sentence(toy: Toy, node: SlurmNode) -> None:
    (toy.path / "launch.yaml").write_text("slurm: {resources: {partition: nowhere}}\n")
    toy.must("study", "arms", "new", "fresh", "--set", "optimizer.lr=0.002")  # nothing trained it
    launched = toy.run("study", "launch", "fresh", "--executor", "slurm", "--wait")
    assert launched.returncode == 1
    assert "Slurm refused the jobs: invalid partition specified: nowhere" in launched.stdout


def test_without_slurm_it_says_what_is_missing(toy: Toy) -> None:
    bare = Toy(toy.path)
    bare.environment |= {"PATH": str(Path(sys.executable).parent)}
    done = bare.run(sys.executable, "-m", "study", "launch", "control", "--executor", "slurm")
    assert done.returncode == 2
    assert "no Slurm here: sbatch" in done.stderr
