"""Kill a writing command at every operation on its files, and run it again.

`python tests/stages/crash_points.py SEED SCENARIO[:COUNT]...` prints one JSON object per scenario:
how many operations the command makes, at how many of them it was killed, and what went wrong.
Without COUNT every one is tried. Commands run in forked children of one process that has imported
everything, so a point takes milliseconds (with DVC: a second or two), and DVC's own code is killed
too.

A scenario is a module-level class with `make` (the state before), `run` (the command), `state`
(what has to be equal in the end) and `lost` (what a reader misses right after the kill).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import stored_checkout
from command_crashes import (
    Evaluate,
    Export,
    Findings,
    Fingerprints,
    Launch,
    Publish,
    RemoteAdd,
    RemoteKey,
    Simulate,
    files,
)

from study.runs import RunFolder, read_json, temporary, write_json, write_text
from study.runs.collect import collect, settled_run
from study.stages.clean import clean_checkout
from study.stages.record import record_results

KILLED, INCOMPLETE = 77, 3
CHANGES = {"os.rename": (0, 2), "os.remove": (0, 1), "os.rmdir": (0, 1), "os.mkdir": (0, 2),
           "os.link": (1, 3), "os.symlink": (1, 2), "os.truncate": (0, None),
           "os.chmod": (0, 2)}  # fmt: skip


# --- scenarios --------------------------------------------------------------------------------


def settled(folder: Path, seed: int) -> dict[str, Any]:
    """A finished run with some files; its origin."""
    origin = {"settings": {"data": "data/tiny"}, "seed": seed}
    write_text(folder / "history.csv", f"epoch,loss\n0,{seed}\n")
    write_text(folder / "best.pt", f"weights of {seed}")
    status = {"state": "finished", "arm": "control", "seed": seed, "manifest": origin}
    write_json(folder / "status.json", status)
    return origin


class Collect:
    """Two seeds are only in runs/control (`study clean` ran); a third one is collected."""

    @staticmethod
    def make(root: Path) -> None:
        for seed in (1, 2):
            settled(root / f"runs/control/s{seed}", seed)
        settled(root / "work/three", 3)

    @classmethod
    def found(cls, root: Path) -> dict[int, RunFolder]:
        names = {1: "one", 2: "two", 3: "three"}
        origins = {seed: {"settings": {"data": "data/tiny"}, "seed": seed} for seed in names}
        runs = {
            seed: settled_run(root / "work" / name, root / f"runs/control/s{seed}", origins[seed])
            for seed, name in names.items()
        }
        return {seed: run for seed, run in runs.items() if run is not None}

    @classmethod
    def run(cls, root: Path) -> None:
        found = cls.found(root)
        if len(found) < 3:
            raise SystemExit(INCOMPLETE)  # it would be trained again
        collect(found.items(), root / "runs/control")

    @classmethod
    def lost(cls, root: Path) -> list[int]:
        found = cls.found(root)
        whole = {seed for seed, run in found.items() if len(list(run.path.iterdir())) == 3}
        return sorted({1, 2, 3} - whole)

    state = staticmethod(files)


class CollectByTwoRenames(Collect):
    """The same where the system cannot exchange two folders in one step."""

    @classmethod
    def run(cls, root: Path) -> None:
        def exchange(*_: object) -> None:
            raise OSError(temporary.errno.ENOSYS, "no renameat2")

        temporary.exchange = exchange
        super().run(root)


class Clean:
    """A collected run, an unfinished one, build output, and what killed writers left."""

    @staticmethod
    def make(root: Path) -> None:
        for name in ("work/one", "runs/control/s1"):
            settled(root / name, 1)
        write_text(root / "work/one/diagnostics/activations.jsonl", "{}\n")
        write_text(root / "runs/control/s1/diagnostics/activations.jsonl", "{}\n")
        write_json(root / "work/two/status.json", {"state": "stopped"})
        for name in ("build/dataset/a.cxi", "work/two/.history.csv.77.88.tmp",
                     "imported/.set.77.88.tmp/test.cxi", ".params.yaml.77.88.tmp",
                     "work/one.lock"):  # fmt: skip
            write_text(root / name, "left")

    @staticmethod
    def run(root: Path) -> None:
        clean_checkout(root, dry=False)

    @staticmethod
    def lost(root: Path) -> list[str]:
        """The collected run, the unfinished one, and any visible part of the removed one."""
        whole = {"history.csv", "best.pt", "status.json", "diagnostics"}
        gone = []
        for name in ("runs/control/s1", "work/one"):
            names = {path.name for path in (root / name).glob("*")}
            if names != whole and (names or name.startswith("runs")):
                gone.append(name)
        return gone + ["work/two"] * (read_json(root / "work/two/status.json") is None)

    state = staticmethod(files)


SCORES = {"outcome": "ok", "cause": None, "data": None, "code": None, "settings": None,
          "training": None, "best": None, "last": None, "evidence": {}}  # fmt: skip


class Record:
    """Results of a pipeline, recorded before from other numbers."""

    @staticmethod
    def make(root: Path) -> None:
        for seed in (1, 2):
            for folder, label in (("other/studies", "new"), ("studies", "old")):
                scores = {**SCORES, "label": label}
                write_json(root / f"{folder}/results/control/seeds/s{seed}.json", scores)

    @staticmethod
    def run(root: Path) -> None:
        record_results(root / "other/studies", root)

    @staticmethod
    def lost(root: Path) -> list[str]:
        found = {path.read_text() for path in root.glob("studies/results/control/seeds/*")}
        return [] if len(found) == 1 else [f"control holds {sorted(found)}"]

    state = staticmethod(files)


class WriteWhole:
    """One file that is replaced."""

    @staticmethod
    def make(root: Path) -> None:
        write_text(root / "params.yaml", "old\n" * 1000)

    @staticmethod
    def run(root: Path) -> None:
        write_text(root / "params.yaml", "new\n" * 1000)

    @staticmethod
    def lost(root: Path) -> list[str]:
        text = (root / "params.yaml").read_text()
        return [] if text in ("old\n" * 1000, "new\n" * 1000) else [text[:20]]

    state = staticmethod(files)


class SaveDataset:
    """A data set folder; the arrays are stand-ins of some bytes."""

    @staticmethod
    def make(root: Path) -> None:
        write_text(root / "imported/other.dvc", "outs: []\n")

    @staticmethod
    def run(root: Path) -> None:
        from unittest import mock

        from study.formats import dataset

        def write_cxi(path: Path, *_: object) -> None:
            path.write_bytes(b"frames" * 1000)

        given = mock.Mock(splits=dict.fromkeys(("train", "test"), None))
        given.manifest.patterns = {"train": 1, "test": 1}
        given.manifest.model_dump.return_value = {"name": "set"}
        with (
            mock.patch.object(dataset, "write_cxi", write_cxi),
            mock.patch.object(dataset, "_to_scan", lambda *_: None),
        ):
            if not (root / "imported/set").exists():
                dataset.save_dataset(given, root / "imported/set")

    @staticmethod
    def lost(root: Path) -> list[str]:
        names = {path.name for path in (root / "imported/set").glob("*")}
        return [] if names in (set(), {"train.cxi", "test.cxi", "manifest.json"}) else sorted(names)

    state = staticmethod(files)


class Pull:
    """Two arms come from a folder into a fresh clone."""

    ARMS: ClassVar = {
        "control": {"a.txt": "one", "s1/b.txt": "two"},
        "flat": {"a.txt": "one", "c.txt": "three"},
    }

    @classmethod
    def make(cls, root: Path) -> None:
        stored_checkout.store(root, cls.ARMS)
        cls.to_remote(root)

    @staticmethod
    def to_remote(root: Path) -> None:
        (root / "lab/files").mkdir(parents=True, exist_ok=True)
        shutil.copytree(root / ".dvc/cache/files/md5", root / "lab/files/md5", dirs_exist_ok=True)
        shutil.rmtree(root / ".dvc/cache")
        (root / ".dvc/config.local").write_text(
            "['remote \"lab\"']\n    url = ../lab\n[core]\n    remote = lab\n"
        )

    @staticmethod
    def run(root: Path) -> None:
        from study.artifacts import remote_worker
        from study.artifacts.remote import Wanted

        problems: list[str] = []
        remote_worker.send_event = lambda event, **values: problems.extend(
            values.get("problems", ())
        )
        wanted = Wanted(root)
        remote_worker.serve(wanted.request("pull", wanted.outputs()))
        if problems:
            sys.stderr.write("\n".join(problems) + "\n")
            raise SystemExit(INCOMPLETE)

    @staticmethod
    def lost(root: Path) -> list[str]:
        """Objects in the cache that do not hash to their name."""
        from study.artifacts.listings import md5

        objects = (root / ".dvc/cache/files/md5").glob("[0-9a-f]?/*")
        return [str(path) for path in objects if md5(path) != f"{path.parent.name}{path.name}"[:32]]

    @staticmethod
    def state(root: Path) -> dict[str, bytes]:
        cache = {f"cache/{key}": value for key, value in files(root / ".dvc/cache").items()}
        return cache | {f"runs/{key}": value for key, value in files(root / "runs").items()}


class PullOver(Pull):
    """The same where an earlier version of an arm is placed: files change, come and go."""

    @classmethod
    def make(cls, root: Path) -> None:
        before = {"control": {"a.txt": "old", "s0/gone.txt": "old"}, "flat": {"a.txt": "one"}}
        stored_checkout.store(root, before)
        for arm, texts in before.items():
            for name, text in texts.items():
                write_text(root / "runs" / arm / name, text)
        shutil.copytree(root / ".dvc/cache", root / "earlier")
        stored_checkout.record(root, cls.ARMS)
        cls.to_remote(root)
        (root / "earlier").rename(root / ".dvc/cache")


SCENARIOS: dict[str, Any] = {
    name: kind for name, kind in globals().items() if hasattr(kind, "make") and name != "Any"
}
COMMANDS = {Evaluate, Export, Findings, Fingerprints, Launch, Publish, RemoteAdd, Simulate}
assert COMMANDS | {RemoteKey} <= {*SCENARIOS.values()}


# --- killing ----------------------------------------------------------------------------------


class Counter:
    """Counts operations on files below a folder; ends the process before number `last`."""

    def __init__(self, root: Path, last: int | None) -> None:
        self.root, self.last, self.count = f"{root}/", last, 0
        self._lock = threading.Lock()

    def install(self) -> None:
        sys.addaudithook(self.heard)
        fsync, exchange = os.fsync, temporary.exchange

        def counted_fsync(descriptor: int) -> None:
            self.step()
            fsync(descriptor)

        def counted_exchange(one: Path, other: Path) -> None:
            self.step()
            exchange(one, other)

        os.fsync, temporary.exchange = counted_fsync, counted_exchange

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self.maybe(path)
        elif event in CHANGES:
            index, descriptor = CHANGES[event]
            relative = descriptor is not None and arguments[descriptor] not in (None, -1)
            self.maybe(arguments[index], relative)

    def maybe(self, path: Any, relative: bool = False) -> None:
        if isinstance(path, (str, bytes, os.PathLike)):
            text = os.fsdecode(path)
            if relative or str(Path.cwd() / text).startswith(self.root):
                self.step()

    def step(self) -> None:
        with self._lock:
            self.count += 1
            if self.count == self.last:
                os._exit(KILLED)


def forked(work: Callable[[], int], log: Path) -> tuple[int, int]:
    """Run `work` in a child: its exit code and the number that it returned."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            with log.open("w") as stream:
                os.dup2(stream.fileno(), 1)
                os.dup2(stream.fileno(), 2)
            os.write(write, str(work()).encode())
            code = 0
        except SystemExit as error:
            code = int(error.code or 0)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    os.close(write)
    printed = os.read(read, 64)
    os.close(read)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), int(printed or 0)


def campaign(name: str, count: int | None, seed: int) -> dict[str, Any]:
    """Kill the command of a scenario at all, or `count` random, points. A summary."""
    scenario = SCENARIOS[name]
    with tempfile.TemporaryDirectory() as scratch:
        template, root = Path(scratch).resolve() / "template", Path(scratch).resolve() / "root"
        log = Path(scratch) / "log"
        scenario.make(template)

        def restore() -> None:
            shutil.rmtree(root, ignore_errors=True)
            shutil.copytree(template, root, symlinks=True)

        def command(last: int | None = None) -> int:
            os.chdir(root)
            counter = Counter(root, last)
            counter.install()
            scenario.run(root)
            return counter.count

        restore()
        code, total = forked(command, log)
        if code:
            raise RuntimeError(f"{name} fails without a kill ({code}): {log.read_text()[-2000:]}")
        whole = scenario.state(root)
        points = range(1, total + 1)
        tried = points if count is None else sorted(random.Random(seed).sample(
            points, min(count, total)))  # fmt: skip
        faults, killed = [], 0
        for point in tried:
            restore()
            code, _ = forked(lambda point=point: command(point), log)
            killed += code == KILLED
            if code not in (0, KILLED):
                faults.append({"point": point, "first": code, "log": log.read_text()[-800:]})
            lost = scenario.lost(root)
            if lost:
                faults.append({"point": point, "lost": lost})
            code, _ = forked(command, log)
            if code:
                faults.append({"point": point, "again": code, "log": log.read_text()[-800:]})
            now = scenario.state(root)
            if now != whole:
                changed = [key for key in {**now, **whole} if now.get(key) != whole.get(key)]
                faults.append({"point": point, "differs": sorted(changed)})
        return {"name": name, "operations": total, "tried": len(tried), "killed": killed,
                "faults": faults}  # fmt: skip


if __name__ == "__main__":
    orders = [words.partition(":") for words in sys.argv[2:]]
    if any(
        issubclass(SCENARIOS[name], (Pull, RemoteAdd, RemoteKey, Publish)) for name, _, _ in orders
    ):
        import dvc.repo  # noqa: F401  (once, before the children)
    for name, _, number in orders:
        found = campaign(name, int(number) if number else None, int(sys.argv[1]))
        sys.stdout.write(json.dumps(found) + "\n")
