"""Writes neuralop_vectors.npz: what neuraloperator's dense SpectralConv gives for fixed inputs.

    python -m pip install -r bench/requirements.txt -c requirements-cpu.txt
    python tests/generators/neuralop_vectors.py

Per case `MODES_HEIGHT_WIDTH`: `.x` (batch, in, height, width), `.weight` (in, out, rows, columns),
complex, rows from the most negative frequency up, and `.y`, what the layer returns. `version`: of
neuraloperator. float32 and complex64.
"""

import importlib
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

FILE = Path(__file__).with_suffix(".npz")
CASES = ((4, 8, 8), (5, 10, 6), (6, 4, 10), (8, 8, 8))


def main() -> None:
    layers = importlib.import_module("neuralop.layers.spectral_convolution")

    torch.manual_seed(0)
    arrays = {"version": np.array(version("neuraloperator"))}
    for modes, height, width in CASES:
        layer = layers.SpectralConv(3, 2, (modes, modes), bias=False)
        x, weight = torch.randn(1, 3, height, width), next(layer.parameters()).detach()
        case = f"{modes}_{height}_{width}"
        with torch.no_grad():
            arrays |= {f"{case}.x": x.numpy(), f"{case}.weight": weight.numpy()}
            arrays[f"{case}.y"] = layer(x).numpy()
    np.savez_compressed(FILE, allow_pickle=False, **arrays)


if __name__ == "__main__":
    main()
