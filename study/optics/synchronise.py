"""The global phase of every group of patches, made one phase for the whole object.

Patches that are found group by group are each known up to a global phase. Two groups whose windows
overlap show the same object there, so their weighted inner product

    H_jl = sum over the object of V_j conj(V_l),   V_j = sum_k |P_k|^2 O_jk over group j

has the phase of their difference. The leading eigenvector of D^-1/2 H D^-1/2 (no diagonal,
D_j = sum_l |H_jl|) is the set of phases that agrees best with all overlaps at once: angular
synchronisation (A. Singer, Appl. Comput. Harmon. Anal. 30, 20 (2011)).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Complex, Complex128, Float
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import eigsh
from torch import Tensor

from study.optics.patches import window_weights

# Dimmer pixels of the probe (relative to its brightest) add nothing to an inner product but time.
DIM = 1e-3
# Up to here a dense solver is as fast; ARPACK needs more rows than eigenvectors in any case.
DENSE = 64


def synchronised(
    patch: Complex[Tensor, "J c n n"],
    probe: Complex[Tensor, "n n"],
    positions_px: Float[Tensor, "J c 2"],
    shape: tuple[int, int],
) -> Complex[Tensor, "J c n n"]:
    """The patches of every group times a phase factor, such that overlapping groups agree.

    Groups that are not connected by overlap are not aligned with one another. The mean rotation of
    connected groups is zero, so patches that already agree are not changed. Deterministic.
    """
    overlaps = inner_products(patch, probe, positions_px, shape)
    factors = np.ones(len(patch), dtype=np.complex128)
    count, member = connected_components(abs(overlaps) > 0, directed=False)
    for label in range(count):
        rows = np.flatnonzero(member == label)
        if len(rows) > 1:
            factors[rows] = agreeing_factors(overlaps[rows][:, rows])
    turn = torch.from_numpy(factors).to(patch.device, patch.dtype)
    return patch * turn[:, None, None, None]


def inner_products(
    patch: Complex[Tensor, "J c n n"],
    probe: Complex[Tensor, "n n"],
    positions_px: Float[Tensor, "J c 2"],
    shape: tuple[int, int],
) -> Any:
    """H as a sparse Hermitian matrix (J, J) without its diagonal."""
    weight = probe.abs().square()
    weight = torch.where(weight > DIM * weight.max(), weight, 0.0)
    groups, c, n, _ = patch.shape
    lit = weight.flatten() > 0
    values = (weight * patch).flatten(2)[..., lit]  # (J, c, lit)
    rows, columns, entries = [], [], []
    for index, share in window_weights(positions_px.flatten(0, 1), n, shape):
        entry = values * share.unflatten(0, (groups, c))[..., None]
        column = index.flatten(1)[:, lit].unflatten(0, (groups, c))
        row = torch.arange(groups, device=patch.device)[:, None, None].expand_as(column)
        for into, part in ((rows, row), (columns, column), (entries, entry)):
            into.append(part.flatten().cpu().numpy())
    windows = sparse.coo_array(
        (
            np.concatenate(entries).astype(np.complex128),
            (np.concatenate(rows), np.concatenate(columns)),
        ),
        shape=(groups, shape[0] * shape[1]),
    ).tocsr()
    products = (windows @ windows.conj().T).tolil()
    products.setdiag(0)
    return products.tocsr()


def agreeing_factors(overlaps: Any) -> Complex128[np.ndarray, " J"]:
    """Unit factors u_j, mean rotation zero, such that u_j V_j of connected groups agree best."""
    degree = np.asarray(abs(overlaps).sum(axis=1)).ravel()
    scale = sparse.diags_array(1 / np.sqrt(degree))
    matrix = scale @ overlaps @ scale
    if len(degree) <= DENSE:
        vector = np.linalg.eigh(matrix.toarray())[1][:, -1]
    else:
        # A fixed start: the default one is drawn at random.
        start = np.sqrt(degree).astype(np.complex128)
        vector = eigsh(matrix, k=1, which="LA", v0=start)[1][:, 0]
    size = np.abs(vector)
    factors = np.where(size > 0, vector.conj() / np.where(size > 0, size, 1), 1)
    mean = (degree * factors).sum()
    return factors * (mean.conj() / abs(mean)) if abs(mean) > 0 else factors
