"""One reference row: make the object of its source, judge it as a network's, write the run folder.

    source -> patches -> stitched object -> object_best.npz, R-factors
              or a whole object (rPIE), cropped to the same region

Files are those of a training run, as far as they make sense without weights: params.yaml,
status.json, history.csv (rPIE: R-factor per pass), object_best.npz. The Cramer-Rao bound has no
object: limit.json holds its numbers. A row is made within seconds, so a stopped one starts again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from study.formats.dataset import Dataset
from study.formats.reconstruction import Reconstruction, save_reconstruction
from study.iterative.limit import limits
from study.iterative.sources import make
from study.iterative.task import Made, Task, fitted_and_judged
from study.optics.assembly import assemble
from study.optics.measurement import Measurement
from study.runs import RunFolder, write_json, write_yaml
from study.settings import CramerRao, Reference, UserError

Row = Mapping[str, Any]
Progress = Callable[[int, int, Row], None]

CHECKPOINT = "only"
REPORT_EVERY_S = 0.5


def run(
    reference: Reference, dataset: Dataset, folder: RunFolder, progress: Progress | None = None
) -> None:
    """Make one reference row of `dataset` and write its run folder; a settled one is left alone.

    `progress(pass, passes, row)` is called after every pass of rPIE, row as in history.csv.

    Raises UserError for a source that the data set cannot serve (an oracle of a measurement). Any
    error leaves the state `stopped`, Ctrl-C leaves `cancelled`, and both are raised again.
    """
    if folder.settled:
        return
    started = time.monotonic()
    passes = getattr(reference.source, "passes", 0)
    folder.update_status(state="running", epoch=0, epochs=passes, cause=None)
    diary = Diary(folder, passes, progress)
    with _accounted(folder), folder.heartbeat():
        if isinstance(reference.source, CramerRao):
            patterns, done = _store_limit(reference, reference.source, dataset, folder), 0
        else:
            fitted, judged = fitted_and_judged(dataset)
            began = time.process_time()
            made = make(reference.source, Task(dataset, fitted, diary.note))
            folder.update_status(reconstruct_seconds=time.process_time() - began)
            settings = describe(reference, dataset, made.effective, len(fitted.amplitude))
            write_yaml(folder.path / "params.yaml", settings)
            if diary.rows:
                folder.write_history(diary.rows)
            save_reconstruction(folder.object_file("best"), pack(made, dataset, judged))
            # As many as were made: rPIE to convergence stops before its last.
            patterns, done = len(fitted.amplitude), len(made.r_factor)
    seconds = time.monotonic() - started
    folder.finish("finished", epoch=done, seconds=seconds, patterns=patterns)


def _store_limit(
    reference: Reference, source: CramerRao, dataset: Dataset, folder: RunFolder
) -> int:
    """Write the bound into the run folder, without any reconstruction; its number of patterns."""
    found = limits(dataset, "test", (source.patterns,))[0]
    effective = {"patterns": found.patterns, "pixels": found.pixels}
    settings = describe(reference, dataset, effective, found.patterns)
    write_yaml(folder.path / "params.yaml", settings)
    write_json(
        folder.limit_file,
        {
            "patterns": found.patterns,
            "pixels": found.pixels,
            "undetermined": found.undetermined,
            "amplitude_mae": found.amplitude_mae,
            "phase_mae": found.phase_mae,
        },
    )
    return found.patterns


@contextlib.contextmanager
def _accounted(folder: RunFolder) -> Iterator[None]:
    """Whatever ends the body early ends as a state with a cause."""
    try:
        yield
    except KeyboardInterrupt:
        folder.finish("cancelled", cause="stopped by a signal")
        raise
    except BaseException as error:
        cause = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        folder.finish("stopped", cause=cause)
        raise


class Diary:
    """Rows of history.csv as the passes come; updates the status file from time to time."""

    def __init__(self, folder: RunFolder, passes: int, progress: Progress | None) -> None:
        self.rows: list[Row] = []
        self._folder, self._passes, self._progress = folder, passes, progress
        self._last_pass = self._last_report = time.monotonic()

    def note(self, done: int, r_factor: float) -> None:
        now = time.monotonic()
        self.rows.append({"epoch": done, "r_factor": r_factor, "seconds": now - self._last_pass})
        self._last_pass = now
        if now - self._last_report > REPORT_EVERY_S:
            self._folder.update_status(epoch=done)
            self._last_report = now
        if self._progress is not None:
            self._progress(done, self._passes, self.rows[-1])


def describe(
    reference: Reference, dataset: Dataset, effective: Mapping[str, Any], patterns: int
) -> dict[str, Any]:
    """The effective settings: what the source says that it used, and on how many patterns."""
    manifest = dataset.manifest
    simulated = manifest.kind == "simulated"
    data: Mapping[str, Any] = {
        "name": manifest.name,
        "content_sha256": manifest.content_sha256,
        "photon_scale": manifest.photon_scale,
        "n": manifest.n,
        "group_size": manifest.group_size,
        "fitted": "test" if simulated else "train and validation",
        "fitted_patterns": patterns,
    }
    return {
        "source": {"name": reference.source.name, **effective},
        "data": data,
        "device": "cpu",
        "threads": torch.get_num_threads(),
    }


def pack(made: Made, dataset: Dataset, judged: Measurement) -> Reconstruction:
    """What is stored of a row; of several modes the strongest.

    `epoch` is 0: there are no weights of an epoch.
    """
    norm = dataset.manifest.object_norm["test"]
    assembled = assemble(made.stitched, made.probe, judged, norm)
    return Reconstruction(
        object=assembled.object,
        region=assembled.region,
        r_factor=assembled.r_factor,
        predicted_amplitude=assembled.predicted_amplitude,
        shown=assembled.shown,
        distinct=made.distinct,
        checkpoint=CHECKPOINT,
        epoch=0,
        probe=made.probe.reshape(-1, *made.probe.shape[-2:])[0].numpy(),
    )
