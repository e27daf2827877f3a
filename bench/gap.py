"""Figure for docs/: a detector gap through the direct beam, masked or read as zeros.

python bench/gap.py docs/gap.png
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from study.formats.dataset import Dataset
from study.iterative.apply import reconstruct_rpie
from study.report.figures.style import canvas, styled
from study.settings import DataParams
from study.simulate import simulate

N, PASSES = 32, 30
PARAMS = {
    "n": N,
    "object_px": 96,
    "canvas_px": 192,
    "lines": 90,
    "phase": True,
    "images_per_split": 1,
    "group_size": 1,
    "photons_per_pattern": 1e5,
    "object_seeds": {"train": 1, "validation": 3, "test": 2},
    "noise_seed": 7,
    "probe": {
        "kind": "focus",
        "aperture_px": 12,
        "central_stop_px": 0,
        "defocus_rad": 5.0,
        "smooth_sigma_px": 0,
    },
    "assumed_probe": None,
    "scan": {"kind": "raster", "stride_px": {"train": 8, "validation": 8, "test": 4}},
}
GAP = {"rows": [[N // 2 - 1, N // 2 + 1]], "columns": []}


def as_zeros(masked: Dataset) -> Dataset:
    """The same counts without a mask and with zeros in the gap, as earlier importers read them."""
    assert masked.mask is not None
    splits = {
        name: replace(split, counts=split.counts[:] * masked.mask, mask=None)
        for name, split in masked.splits.items()
    }
    return replace(masked, splits=splits)


def reconstructed(data: Dataset) -> tuple[np.ndarray, float]:
    """The object (h, w) on the scored region, scaled to the true object, and its relative error."""
    made = reconstruct_rpie(data, PASSES, 0.1, update_probe=False).reconstruction
    truth = data.splits["test"].obj
    assert truth is not None
    y0, x0, y1, x1 = made.region
    found, wanted = made.object[0], truth[0][y0:y1, x0:x1]
    found = found * (np.vdot(found, wanted) / np.vdot(found, found))
    return found, float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def draw(out: Path) -> Path:
    """Write the figure to `out`: a pattern above the object phase, for the three cases."""
    whole = simulate("whole", DataParams.model_validate(PARAMS))
    masked = simulate("masked", DataParams.model_validate({**PARAMS, "mask": GAP}))
    cases = (("no gap", whole), ("gap masked", masked), ("gap as zeros", as_zeros(masked)))
    with styled():
        figure = canvas(105, 150)
        for column, (name, data) in enumerate(cases):
            split = data.splits["test"]
            pattern = np.sqrt(split.counts[len(split.counts) // 2][0].astype(float))
            if split.mask is not None:
                pattern[~split.mask] = np.nan
            found, error = reconstructed(data)
            print(f"{name}: relative object error {error:.3f}")
            for row, (image, limits) in enumerate(
                ((pattern, (0, None)), (np.angle(found), (-1, 1)))
            ):
                axes = figure.add_axes((0.03 + 0.325 * column, 0.51 - 0.49 * row, 0.3, 0.42))
                axes.imshow(image, cmap="gray", vmin=limits[0], vmax=limits[1])
                axes.set_facecolor("#d9822b")
                axes.set_xticks([])
                axes.set_yticks([])
                title = f"{name}, root of counts" if not row else f"phase, error {error:.3f}"
                axes.set_title(title, loc="left")
        figure.savefig(out, dpi=200, metadata={"Software": None})
    return out


if __name__ == "__main__":
    print(draw(Path(sys.argv[1])))
