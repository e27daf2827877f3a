"""Catalogue of stored numbers: path in a seed's JSON, title, unit, direction, definition.

A path is `<checkpoint>.<number>` or `training.<number>`:

    last.standard.amplitude.mae     best.published.phase.ssim     last.val_loss     training.seconds

`gap.<number>` is the last checkpoint's number minus the best one's.

Claims, tables and `study explain` all use this list; other paths are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from study.settings import UserError, nearest

Better = Literal["lower", "higher"]
CHECKPOINTS = ("best", "last")
OUTCOME = "outcome"
SURVIVAL = "survival"
NYQUIST = 0.5  # 1/px; end of the FRC in the standard set


@dataclass(frozen=True)
class Column:
    """One number of a seed.

    `channel`: None for numbers that do not belong to amplitude or phase. `better`: None if neither
    direction is better, as for an amplitude scale, which should be 1. `limit`: the best value that
    can be measured; a number equal to it is a bound.
    """

    path: str
    title: str
    unit: str
    better: Better | None
    definition: str
    channel: str | None = None
    limit: float | None = None

    @property
    def margin_unit(self) -> str:
        """The unit required for the margin of a claim: `1` for a dimensionless number."""
        return self.unit or "1"


# name: (title, unit for amplitude, unit for phase, better, definition)
METRICS: Mapping[str, tuple[str, str, str, Better, str]] = {
    "mae": ("MAE", "object units", "rad", "lower", "mean |prediction - truth|"),
    "mse": ("MSE", "object units²", "rad²", "lower", "mean (prediction - truth)²"),
    "psnr": ("PSNR", "dB", "dB", "higher", "10 log10(peak² / MSE)"),
    "ssim": ("SSIM", "", "", "higher", "structural similarity, 7 x 7 uniform window"),
    "ms_ssim": ("MS-SSIM", "", "", "higher", "SSIM over five levels"),
    "frc50": ("FRC 0.5", "1/px", "1/px", "higher", "frequency at which the FRC falls below 0.5"),
}
SETS: Mapping[str, str] = {
    "standard": "global phase removed once, data range of the truth, degenerate channels blank",
    "published": "as in the earlier work: amplitude scaled, phase planes removed, 2 px cut off",
}
_CHECKPOINT_NUMBERS = (
    Column(
        "val_loss",
        "validation loss",
        "",
        "lower",
        "sum |A_pred - X| / sum X over the validation split, whatever loss the arm trains with; "
        "for the stored weights, which computed the object",
    ),
    Column(
        "skill",
        "skill",
        "",
        "higher",
        "1 - (validation loss - noise floor) / (best-constant loss - noise floor)",
    ),
    Column("epoch", "epoch", "", None, "epoch whose weights computed the reconstruction"),
    Column(
        "r_factor.sum",
        "R-factor",
        "",
        "lower",
        "sum |sqrt(counts) - |far field|| / sum sqrt(counts) over all test patterns inside",
    ),
    Column("r_factor.median", "R-factor, median", "", "lower", "median over the test patterns"),
    Column(
        "standard.extra.amplitude_scale",
        "amplitude scale",
        "",
        None,
        "truth's mean amplitude over the reconstruction's; 5 % off 1 is a defect",
    ),
    Column(
        "foreign_phase.truth",
        "foreign phase, correlation with the truth",
        "",
        "higher",
        "correlation of the predicted phase with the true one where the test object has the phase "
        "of another object; below 0.8 the phase follows a prior",
    ),
    Column(
        "foreign_phase.from_amplitude",
        "foreign phase, correlation with f(amplitude)",
        "",
        None,
        "correlation of the same predicted phase with the published function of the amplitude; "
        "at or above the correlation with the truth the phase follows a prior",
    ),
)
_TRAINING_NUMBERS = (
    Column(
        "training.collapse_gap",
        "collapse gap",
        "",
        "lower",
        "final minus best validation loss of the run",
    ),
    Column(
        "training.clipped_fraction",
        "clipped fraction",
        "",
        None,
        "share of norms or values above the limit of the clip rule, mean over the steps",
    ),
    Column("training.seconds", "seconds", "s", "lower", "wall time of the training epochs"),
    Column(
        "training.patterns",
        "patterns",
        "",
        None,
        "number of patterns from which the image is computed",
    ),
    Column(
        "training.training_patterns",
        "training patterns",
        "",
        None,
        "number of patterns on which the network was trained",
    ),
    Column(
        "training.reconstruct_seconds",
        "reconstruction",
        "s",
        "lower",
        "CPU time of one reconstruction, from counts to the stitched object",
    ),
    Column(
        "training.dead_share",
        "dead units",
        "",
        "lower",
        "largest share of dead units in any layer at the last epoch, first validation batch",
    ),
    Column(
        "training.gradient_max",
        "largest gradient norm",
        "",
        None,
        "largest gradient norm of any step of the run, before the clip",
    ),
    Column(
        "training.first_bad_epoch",
        "first bad epoch",
        "",
        None,
        "first epoch whose validation loss exceeds twice the best so far, or is not finite; absent "
        "if there is none",
    ),
    Column(
        "training.gradient_ratio",
        "local / spectral gradient",
        "",
        None,
        "gradient norm of all local branches over that of all spectral ones at the first batch of "
        "the run; only of runs with --diagnose",
    ),
)


def _score_columns() -> list[Column]:
    return [
        Column(
            path=f"{name}.{channel}.{metric}",
            title=f"{channel} {title}",
            unit="rings" if (name, metric) == ("published", "frc50") else units[channel],
            better=better,
            definition=f"{definition}; {channel}; set {name}: {meaning}",
            channel=channel,
            limit=NYQUIST if (name, metric) == ("standard", "frc50") else None,
        )
        for name, meaning in SETS.items()
        for metric, (title, amplitude, phase, better, definition) in METRICS.items()
        for channel, units in ((c, {"amplitude": amplitude, "phase": phase}) for c in _CHANNELS)
    ]


def _gap(column: Column) -> Column:
    return replace(
        column,
        path=f"gap.{column.path}",
        title=f"{column.title}, last minus best",
        definition=f"last minus best of: {column.definition}",
        limit=None,
    )


_CHANNELS = ("amplitude", "phase")
KNOWN: Mapping[str, Column] = {
    column.path: column
    for column in (
        *(
            replace(column, path=f"{checkpoint}.{column.path}")
            for checkpoint in CHECKPOINTS
            for column in (*_CHECKPOINT_NUMBERS, *_score_columns())
        ),
        *(_gap(column) for column in (*_CHECKPOINT_NUMBERS, *_score_columns())),
        *_TRAINING_NUMBERS,
    )
}

# Numbers in the tables, per checkpoint; all others are only in the seeds' JSON.
LOSSES = ("val_loss", "skill", "r_factor.sum")
STANDARD = (
    "standard.amplitude.ssim",
    "standard.amplitude.mae",
    "standard.amplitude.frc50",
    "standard.phase.ssim",
    "standard.phase.mae",
    "standard.extra.amplitude_scale",
)
PUBLISHED = ("published.amplitude.ssim", "published.amplitude.mae", "published.phase.ssim")
RUN = tuple(column.path for column in _TRAINING_NUMBERS[:6])
# There are many recorded arms: their tables have only these columns, and the findings contain only
# these numbers and those used by claims.
RECORDED = (
    "last.standard.amplitude.mae",
    "last.standard.phase.mae",
    "last.standard.amplitude.ssim",
    "last.standard.phase.ssim",
    "best.val_loss",
    "last.val_loss",
    "training.clipped_fraction",
    "training.seconds",
)
SHOWN: tuple[str, ...] = (
    *(f"{c}.{name}" for c in (*CHECKPOINTS, "gap") for name in (*LOSSES, *STANDARD, *PUBLISHED)),
    "best.epoch",
    *(column.path for column in _TRAINING_NUMBERS),
)


def find_column(path: str) -> Column:
    """The column at `path`. Raises UserError, with the most similar path, if there is none."""
    if path not in KNOWN:
        raise UserError(f"no number {path!r} in the results{_nearest_path(path)}")
    return KNOWN[path]


def _nearest_path(path: str) -> str:
    sentence = nearest(path, KNOWN)
    return sentence if "did you mean" in sentence else "; for example last.standard.amplitude.mae"
