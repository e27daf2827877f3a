"""Armature: reproducible studies of neural ptychography.

`study.load(run)` gives a notebook the network, the arrays and the metrics of one run folder.
Importing this package does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from study.cli.notebook import load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from study.cli.notebook import load

        return load
    raise AttributeError(f"module 'study' has no attribute {name!r}")
