"""One reference row: make the object of its source, judge it as a network's, write the run folder.

    source -> patches -> stitched object -> object_best.npz, R-factors
              or a whole object (rPIE), cropped to the same region

Files are those of a training run, as far as they make sense without weights: params.yaml,
status.json, history.csv (rPIE: R-factor a pass), object_best.npz. A row is made within seconds, so
a stopped one starts anew.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from study.formats.dataset import Dataset
from study.formats.reconstruction import Reconstruction, save_reconstruction
from study.iterative.sources import Made, Task, fitted_and_judged, make
from study.optics.assembly import Measurement, assemble
from study.params import Reference, UserError
from study.runs import RunFolder, write_yaml

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
        fitted, judged = fitted_and_judged(dataset)
        made = make(reference.source, Task(dataset, fitted, diary.note))
        write_yaml(folder.path / "params.yaml", describe(reference, dataset, made, fitted))
        if diary.rows:
            folder.write_history(diary.rows)
        save_reconstruction(folder.object_file("best"), pack(made, dataset, judged))
    seconds = time.monotonic() - started
    folder.finish("finished", epoch=passes, seconds=seconds, patterns=len(fitted.amplitude))


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
    """Rows of history.csv as the passes come; tells the status file now and then."""

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
    reference: Reference, dataset: Dataset, made: Made, fitted: Measurement
) -> dict[str, Any]:
    """The effective settings: what the source says that it used, and on which patterns."""
    manifest = dataset.manifest
    simulated = manifest.kind == "simulated"
    data: Mapping[str, Any] = {
        "name": manifest.name,
        "content_sha256": manifest.content_sha256,
        "photon_scale": manifest.photon_scale,
        "n": manifest.n,
        "group_size": manifest.group_size,
        "fitted": "test" if simulated else "train and validation",
        "fitted_patterns": len(fitted.amplitude),
    }
    return {
        "source": {"name": reference.source.name, **made.effective},
        "data": data,
        "device": "cpu",
        "threads": torch.get_num_threads(),
    }


def pack(made: Made, dataset: Dataset, judged: Measurement) -> Reconstruction:
    """What is stored of a row. `epoch` is 0: there are no weights of an epoch."""
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
        probe=made.probe.numpy(),
    )
