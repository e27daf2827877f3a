"""The "grid lines" data set: objects, probes and scans, measured by the one forward model."""

from study.simulate.dataset import simulate

__all__ = ["simulate"]
