"""Stage `fingerprint`: the behaviour of each arm at tiny size, on which training depends.

If training depended on source files, a changed comment would retrain two hundred runs; without any
dependency on the code, results could be stale. This stage depends on the code, runs each arm on a
tiny data set of the same kind, and rewrites fingerprints/<arm>.json only if a number changed by
more than 1e-4.

For each arm it covers the effective settings, at least two tiny epochs with a partial last batch,
one step with gradients scaled by 1e3 (so that clipping takes effect), the learning rates of all
epochs, the choice of the best checkpoint, and one stitched reconstruction.
"""

from __future__ import annotations

import math
import multiprocessing
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from study.formats.dataset import Dataset
from study.formats.reconstruction import load_reconstruction
from study.runs import RunFolder, read_json, write_json
from study.settings import (
    Arm,
    DataParams,
    Focus,
    GeneratorParams,
    Probe,
    Reference,
    Row,
    SplitStrides,
    Study,
    UserError,
    leaves,
)

TOLERANCE = 1e-4
SMALLEST = 1e-4  # smaller numbers are compared as if they had this magnitude
TINY_N, TINY_WIDTH, TINY_EPOCHS = 16, 4, 2
SEED = 7


def write_fingerprints(study: Study, folder: Path) -> list[str]:
    """Update fingerprints/<arm>.json of all rows; returns the names that changed.

    Files of rows that no longer exist are removed.
    """
    for stale in folder.glob("*.json"):
        if stale.stem not in study.arms:
            stale.unlink()
    return update(study, folder, study.arms)


def update(study: Study, folder: Path, names: Iterable[str]) -> list[str]:
    """Update the files of these rows; returns the names whose behaviour changed."""
    import torch

    torch.set_num_threads(1)  # as in training: the order of summation affects the numbers
    sets: dict[tuple[str, int], Dataset] = {}
    moved = []
    for name in names:
        row, file = study.arms[name], folder / f"{name}.json"
        new = fingerprint(study, row, sets)
        if not close(read_json(file), new):
            write_json(file, new)
            moved.append(name)
    return moved


def update_apart(study: Study, folder: Path, names: Iterable[str]) -> None:
    """Run `update` in a new process, for callers that fork later: torch's threads cannot be forked.

    Raises UserError as `update` does, and if the process dies.
    """
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_update_and_report, args=(writer, study, folder, list(names)))
    process.start()
    writer.close()
    try:
        refusal = reader.recv()
    except EOFError:  # it ended without a message
        refusal = None
    finally:
        process.join()
        reader.close()
    if refusal is not None:
        raise UserError(refusal)
    if process.exitcode:
        code = process.exitcode
        how = f"killed by signal {-code} (out of memory?)" if code < 0 else f"exit code {code}"
        raise UserError(f"the fingerprint was not computed: its process ended, {how}; run again")


def _update_and_report(writer: Any, study: Study, folder: Path, names: list[str]) -> None:
    """Run `update` and send the message of its UserError, or None."""
    try:
        update(study, folder, names)
        writer.send(None)
    except UserError as error:
        writer.send(str(error))


def fingerprint(study: Study, row: Row, sets: dict[tuple[str, int], Dataset]) -> dict[str, Any]:
    """The behaviour of one row at tiny size, as JSON. `sets`: cache of tiny data sets."""
    dataset = _dataset(study, row, tiny_n(row), sets)
    with tempfile.TemporaryDirectory() as scratch:
        run = RunFolder(Path(scratch))
        if isinstance(row, Reference):
            from study.iterative.references import run as run_reference

            run_reference(row, dataset, run)
            facts = {}
        else:
            facts = _trained(row, dataset, run)
        files = sorted(Path(scratch).glob("object_*.npz"))
        facts["reconstruction"] = {file.stem: _image_facts(file) for file in files}
        if run.limit_file.is_file():
            facts["limit"] = read_json(run.limit_file)
    return {"settings": leaves(row), **facts}


def tiny_n(row: Row) -> int:
    """Pattern size: 16 px, or more if the depth of the network requires it."""
    if not isinstance(row, Arm):
        return TINY_N
    depth = row.generator.options.get("fno_blocks", 1)
    return max(TINY_N, 2 ** int(depth)) if isinstance(depth, int) else TINY_N


def tiny_arm(row: Arm) -> Arm:
    """The same arm with fewer channels and epochs; all other settings are unchanged."""
    options = dict(row.generator.options)
    if options.get("width") is not None:
        options["width"] = TINY_WIDTH
    generator = GeneratorParams(name=row.generator.name, options=options)
    epochs = max(TINY_EPOCHS, getattr(row.schedule, "warmup_epochs", 0) + 1)
    return row.model_copy(update={"generator": generator, "epochs": epochs})


def _dataset(study: Study, row: Row, n: int, sets: dict[tuple[str, int], Dataset]) -> Dataset:
    from study.simulate import simulate

    if (row.data, n) not in sets:
        room, _, name = row.data.partition("/")
        # Imported data sets have no parameters: use the first simulated data set instead.
        known = study.data.get(name) if room == "data" else next(iter(study.data.values()), None)
        if known is None:
            raise UserError("params.yaml declares no simulated data set for the fingerprints")
        sets[row.data, n] = simulate("tiny", tiny_data(known, n))
    return sets[row.data, n]


def tiny_data(params: DataParams, n: int) -> DataParams:
    """A data set of the same kind with about 80 patterns, so that the last batch is partial.

    `n`: pattern size in px.
    """
    stride = SplitStrides(train=4, validation=6, test=6)
    scan = params.scan.model_copy(update={"stride_px": stride})
    object_px = n + 4 * 8 + (4 if params.group_size == 4 else 0)
    changes = {"n": n, "object_px": object_px, "images_per_split": 1, "scan": scan}
    if params.seeds is not None:
        changes["seeds"] = (SEED,)
    probes = {key: _tiny_probe(params, key, n) for key in ("probe", "assumed_probe")}
    return params.model_copy(update={**changes, **probes})


def _tiny_probe(params: DataParams, key: str, n: int) -> Probe | None:
    """The probe for patterns of n px: a pupil is scaled down, other probes are unchanged."""
    probe = getattr(params, key)
    if not isinstance(probe, Focus):
        return probe
    share = n / params.n
    pupil = {"aperture_px": probe.aperture_px * share, "defocus_rad": probe.defocus_rad * share}
    return probe.model_copy(update={**pupil, "central_stop_px": probe.central_stop_px * share})


def _trained(row: Arm, dataset: Dataset, run: RunFolder) -> dict[str, Any]:
    import torch

    from study.training.fit import fit, learning_rates
    from study.training.scaled_step import scaled_step

    small = tiny_arm(row)
    # Always on the CPU, so that the fingerprint does not depend on the device.
    fit(small, dataset, SEED, run, device=torch.device("cpu"))
    return {
        "history": run.history().to_dict("list"),
        "learning_rates": learning_rates(row),
        "best_epoch": run.status().get("best_epoch"),
        "scaled_step": scaled_step(small, dataset, SEED, factor=1e3),
    }


def _image_facts(file: Path) -> dict[str, float]:
    """A few statistics and random projections that change if the image changes."""
    obj = load_reconstruction(file).object.astype(np.complex128)
    weight = np.random.default_rng(SEED).normal(size=obj.shape)
    return {
        "mean_abs": float(np.abs(obj).mean()),
        "std_abs": float(np.abs(obj).std()),
        "projection_real": float((weight * obj.real).mean()),
        "projection_imag": float((weight * obj.imag).mean()),
    }


def close(old: Any, new: Any) -> bool:
    """Whether two fingerprints have the same structure and text, and numbers within 1e-4.

    The tolerance is relative: for numbers in a list to the largest in the list, so that rounding of
    sums near zero is ignored; for other numbers to the number itself.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(close(old[key], new[key]) for key in old)
    if isinstance(old, list) and isinstance(new, list):
        scale = max((abs(item) for item in (*old, *new) if _is_number(item)), default=0.0)
        return len(old) == len(new) and all(
            _near(a, b, scale) if _is_number(a) and _is_number(b) else close(a, b)
            for a, b in zip(old, new, strict=True)
        )
    if _is_number(old) and _is_number(new):
        return _near(old, new, max(abs(old), abs(new)))
    return old == new or (_void(old) and _void(new))


def _near(a: float, b: float, scale: float) -> bool:
    return abs(a - b) <= TOLERANCE * max(scale, SMALLEST)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _void(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))
