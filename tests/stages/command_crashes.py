"""Commands for tests/stages/crash_points.py that write results, requests and settings of remotes.

A scenario is a class with `make`, `run`, `state` and `lost`, as described there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import stored_checkout

from pipeline.toy import PARAMS
from study.runs import RunFolder, read_json, write_json, write_text


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder; locks and what DVC keeps for itself are left out."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    kept = (path for path in found if path.suffix != ".lock" and "tmp" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in kept}


def toy_data(root: Path) -> Any:
    """The settings of the toy study and its data set; returns the study."""
    from study.formats.dataset import save_dataset
    from study.settings import load_study
    from study.simulate import simulate

    write_text(root / "params.yaml", PARAMS)
    study = load_study(root / "params.yaml")
    save_dataset(simulate("toy", study.data["toy"]), root / "data/toy")
    return study


def torn(root: Path, pattern: str) -> list[str]:
    """JSON files that are there and cannot be read."""
    found = [path for path in root.glob(pattern) if not path.name.startswith(".")]
    return [str(path) for path in found if read_json(path) is None]


class Simulate:
    """A data set of each of two seeds."""

    @staticmethod
    def make(root: Path) -> None:
        seeds = "  toy:\n    {seeds: [1, 2], "
        write_text(root / "params.yaml", PARAMS.replace("  toy:\n    {", seeds))

    @staticmethod
    def run(root: Path) -> None:
        from study.settings import load_study
        from study.stages.simulate import simulate_all

        simulate_all(load_study(root / "params.yaml"), root / "data")

    @staticmethod
    def lost(root: Path) -> list[str]:
        whole = {"train.cxi", "validation.cxi", "test.cxi", "manifest.json"}
        held = {path: {file.name for file in path.iterdir()} for path in root.glob("data/toy/s*")}
        return [str(path) for path, names in held.items() if names != whole]

    state = staticmethod(files)


class Evaluate:
    """Scores of one run, of which another version is there."""

    @staticmethod
    def make(root: Path) -> None:
        from study.formats.dataset import load_dataset
        from study.formats.reconstruction import save_reconstruction

        study = toy_data(root)
        dataset = load_dataset(root / "data/toy")
        run, row = RunFolder(root / "runs/flat/s0"), study.arms["flat"]
        run.finish("finished", patterns=9, seconds=1.5)
        write_json(run.path / "environment.json", {"commit": "c", "dirty": False})
        save_reconstruction(run.object_file("best"), whole_object(dataset))
        assert row.seeds == (0,)
        write_json(root / "results/flat/seeds/s0.json", {"outcome": "old"})
        write_json(root / "results/flat/seeds/s9.json", {"outcome": "old"})

    @staticmethod
    def run(root: Path) -> None:
        from study.stages.evaluate import evaluate_arm

        evaluate_arm(root, "flat")

    @staticmethod
    def lost(root: Path) -> list[str]:
        return torn(root, "results/flat/seeds/*.json") + torn(root, "provenance/*/*.json")

    state = staticmethod(files)


def whole_object(dataset: Any) -> Any:
    """A constant reconstruction of the whole test scan."""
    import numpy as np

    from study.formats.reconstruction import Reconstruction

    test = dataset.splits["test"]
    height, width = test.object_shape
    return Reconstruction(
        object=np.ones((1, height, width), np.complex64),
        region=np.array([0, 0, height, width]),
        r_factor=np.full(len(test.counts), 0.5, np.float32),
        predicted_amplitude=np.zeros((1, *dataset.probe.shape), np.float16),
        shown=np.zeros(1, np.int64),
        distinct=True,
        checkpoint="only",
        epoch=0,
        probe=dataset.probe,
    )


class Findings:
    """findings.json and findings.md, of which earlier versions are there."""

    @staticmethod
    def make(root: Path) -> None:
        write_text(root / "params.yaml", PARAMS)
        write_text(root / "claims.yaml", "claims: {}\n")
        Findings.run(root)
        for name in ("findings.json", "findings.md"):
            write_text(root / name, (root / name).read_text() + "\n")

    @staticmethod
    def run(root: Path) -> None:
        from study.stages.findings import write_findings

        write_findings(root)

    @staticmethod
    def lost(root: Path) -> list[str]:
        absent = [name for name in ("findings.json", "findings.md") if not (root / name).is_file()]
        return absent + torn(root, "findings.json")

    state = staticmethod(files)


class Fingerprints:
    """Two fingerprints; their computation is a stand-in."""

    @staticmethod
    def make(root: Path) -> None:
        write_text(root / "params.yaml", PARAMS)
        write_json(root / "fingerprints/cnn.json", {"history": {"val_loss": [0.5]}})

    @staticmethod
    def run(root: Path) -> None:
        from unittest import mock

        from study.settings import load_study
        from study.stages import fingerprint

        study = load_study(root / "params.yaml")
        new = {"history": {"val_loss": [0.25]}}
        with mock.patch.object(fingerprint, "fingerprint", lambda *_: new):
            fingerprint.update(study, root / "fingerprints", ["control", "cnn"])

    @staticmethod
    def lost(root: Path) -> list[str]:
        return torn(root, "fingerprints/*.json")

    state = staticmethod(files)


class Export:
    """One scan in the layout of three formats."""

    @staticmethod
    def make(root: Path) -> None:
        toy_data(root)

    @staticmethod
    def run(root: Path) -> None:
        from study.formats.dataset import load_dataset
        from study.formats.exporting import export_scan

        for name in ("scan.cxi", "scan.hdf5", "scan.npz"):
            export_scan(load_dataset(root / "data/toy"), "test", root / name)

    @staticmethod
    def lost(root: Path) -> list[str]:
        import h5py
        import numpy as np

        for path in root.glob("scan*"):
            if path.is_file():
                opened = np.load(path) if path.suffix == ".npz" else h5py.File(path)
                opened.close()
        return []

    state = staticmethod(files)


class Launch:
    """A request to train an arm; no supervisor is started."""

    @staticmethod
    def make(root: Path) -> None:
        write_text(root / "params.yaml", PARAMS)
        write_text(root / "claims.yaml", "claims: {}\n")

    @staticmethod
    def run(root: Path) -> None:
        from unittest import mock

        from study.jobs import api

        with mock.patch.object(api, "ensure", lambda _: None):
            if not api.jobs(root):  # a second request would be refused, and says so
                api.submit(root, "control")

    @staticmethod
    def lost(root: Path) -> list[str]:
        return torn(root, "work/launch/*/*.json")

    @staticmethod
    def state(root: Path) -> list[Any]:
        from study.jobs import api

        return [(job.arm, job.seeds, job.state) for job in api.jobs(root)]


class RemoteAdd:
    """A remote is added to a configuration that has another one."""

    @staticmethod
    def make(root: Path) -> None:
        from study.artifacts.remotes import add_remote

        stored_checkout.store(root, {"control": {"a.txt": "one"}})
        add_remote(root, "old", "s3://bucket/old", None, False)

    @staticmethod
    def run(root: Path) -> None:
        from study.artifacts.remotes import add_remote

        add_remote(root, "lab", "s3://bucket/path", None, False)

    @staticmethod
    def lost(root: Path) -> list[str]:
        from study.artifacts.store import read_config

        return sorted({"old"} - set(read_config(root)["remote"]))

    @staticmethod
    def state(root: Path) -> bytes:
        return (root / ".dvc/config").read_bytes()


class RemoteKey:
    """The key of a remote is stored beside that of another one."""

    @staticmethod
    def make(root: Path) -> None:
        from study.artifacts.remotes import store_key

        RemoteAdd.make(root)
        RemoteAdd.run(root)
        store_key(root, "old", "me", "first", None)

    @staticmethod
    def run(root: Path) -> None:
        from study.artifacts.remotes import store_key

        store_key(root, "lab", "me", "second", None)

    @staticmethod
    def lost(root: Path) -> list[str]:
        local = root / ".dvc/config.local"
        safe = "first" in local.read_text() and local.stat().st_mode & 0o77 == 0
        return [] if safe else ["the key of old"]

    @staticmethod
    def state(root: Path) -> bytes:
        return (root / ".dvc/config.local").read_bytes()


class Publish:
    """PUBLISHED.md, of which an earlier version is there; nothing is sent."""

    @staticmethod
    def make(root: Path) -> None:
        stored_checkout.store(root, {"control": {"a.txt": "one"}})
        RemoteAdd.run(root)
        write_text(root / "PUBLISHED.md", "old\n")
        for words in (("add", "-A"), ("commit", "-qm", "remote")):
            stored_checkout.git(root, *words)

    @staticmethod
    def run(root: Path) -> None:
        from unittest import mock

        from study.artifacts import publish

        with mock.patch.object(publish, "push", lambda _: []):
            publish.publish(root, False, "lab")

    @staticmethod
    def lost(root: Path) -> list[str]:
        return [] if (root / "PUBLISHED.md").read_text() else ["PUBLISHED.md"]

    @staticmethod
    def state(root: Path) -> bytes:
        return (root / "PUBLISHED.md").read_bytes()
