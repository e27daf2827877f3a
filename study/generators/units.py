"""Which axes of a weight index its units (output channels).

Unit-wise gradient clipping (Brock et al. 2021, arXiv:2102.06171, Algorithm 2) takes one norm per
output channel, and a bare tensor does not tell which axis that is. Contract:
`parameter.unit_axes: tuple[int, ...]` are the axes that index units; the norm of a unit runs over
all the other axes. A parameter without the mark: axis 0, as in every ordinary convolution.

The mark survives `.to()`, `.double()` and `load_state_dict`. `copy.deepcopy` drops it, for torch
copies no Python attributes of a parameter: build a second network and load the weights instead.
"""

from __future__ import annotations

from torch import Tensor


def mark_units(parameter: Tensor, axes: tuple[int, ...]) -> None:
    """Say that `axes` of `parameter` index its units; see the module docstring."""
    setattr(parameter, "unit_axes", axes)  # noqa: B010 - torch declares no such attribute
