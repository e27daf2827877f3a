"""Draw the figure of the README from the stored runs of the root study.

    python tools/picture.py OUT.png

Amplitudes share a grey range taken from the true object; the phase is in rad with a symmetric range
and without the global phase relative to the true object. Pixels are square and not smoothed.
"""

import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import study
from study.formats.dataset import load_dataset

ROOT = Path(__file__).resolve().parent.parent
DATA = "independent_groups"
SHOWN = {
    "hybrid_groups": "hybrid network",
    "group_steps_200": "200 steps,\nuntrained",
    "group_conjugate_24": "24 conjugate steps,\nuntrained",
    "unrolled": "unrolled network",
}


def main(out: Path) -> None:
    seed = sorted((ROOT / "data" / DATA).glob("s*"))[0].name
    test = load_dataset(ROOT / "data" / DATA / seed, ("test",)).splits["test"]
    images = {}
    for arm in SHOWN:
        folder = ROOT / "runs" / arm / seed
        checkpoint = "last" if (folder / "object_last.npz").is_file() else "best"
        images[arm] = study.load(folder).reconstruction(checkpoint)
    y0, x0, y1, x1 = images["unrolled"].region
    assert test.obj is not None, "simulated data contain the true object"
    truth = test.obj[0, y0:y1, x0:x1]
    columns = {"truth": truth} | {SHOWN[arm]: image.object[0] for arm, image in images.items()}
    figure, axes = plt.subplots(2, len(columns), figsize=(2.1 * len(columns), 4.6))
    low, high = np.percentile(np.abs(truth), (0.5, 99.5))
    limit = np.abs(np.angle(truth)).max()
    for (top, bottom), (title, obj) in zip(axes.T, columns.items(), strict=True):
        top.imshow(np.abs(obj), cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        phase = np.angle(obj * np.exp(-1j * np.angle(np.vdot(truth, obj))))
        bottom.imshow(phase, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
        top.set_title(title, fontsize=9)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    axes[0, 0].set_ylabel("amplitude")
    axes[1, 0].set_ylabel("phase")
    figure.colorbar(axes[0, 0].images[0], ax=axes[0], fraction=0.012, pad=0.01)
    figure.colorbar(axes[1, 0].images[0], ax=axes[1], fraction=0.012, pad=0.01, label="rad")
    figure.savefig(out, dpi=110, bbox_inches="tight", metadata={"Software": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
