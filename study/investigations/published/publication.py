"""Published numbers, and the arm of this study that repeats each of them.

One row is one published run. Each number says what it measured, as far as the code and the files of
the earlier work show, and of which weights it is: "best" of the epoch with the lowest validation
loss, "last" of the final epoch. Its losses come from the best epoch, its images from the last one:
numbers of one published line may belong to different weights.

Design choices
- The mapping from a published row to our arms is here and nowhere else. Of several names the
  first that is stored counts.
- `settings` are those that the publication states, by their name in a seed's JSON; a stored run is
  held against them, so that every difference of protocol is computed and none is remembered.
- What no setting shows is the same for all rows and is in `ALWAYS_DIFFERENT`.
- Rows `flat` and `oracle` were not published: their numbers follow from the published object and
  the metric (constant amplitude 0.27711 / 0.51306: computed again by a test).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from study.metrics.skill import skill
from study.settings import Scalar

Scale = Literal["quick", "full"]
Weights = Literal["best", "last"]
SCALES: tuple[Scale, ...] = ("quick", "full")

# What any constant amplitude scores on the published object (seed 2, one image, 326 x 326 px).
FLOOR = {"published.amplitude.ssim": 0.27711, "published.amplitude.mae": 0.51306}
FLOOR_DIGITS = 1e-3
# Losses of the published probe: of the truth, and of the best constant object by phase on or off.
NOISE_LOSS = 0.00107
CONSTANT_LOSS = {False: 0.178, True: 0.198}
# A skill of the published losses, which have three digits, below this is that of a constant.
NO_SKILL = 0.02
PIXELS = 64
PATTERNS: Mapping[str, float] = {"training.training_patterns": 13778.0}

ALWAYS_DIFFERENT = (
    "the probe is another one (the published one is not available)",
    "validation is a scan of its own (published: the test set)",
    "a prediction does not depend on its batch (published: it grew with the batch size)",
)


@dataclass(frozen=True)
class PublishedNumber:
    """One published number: `values` has one entry a published seed, none for a word.

    `name` is its path in a seed's JSON without the checkpoint; `history.*` is a column of
    history.csv, `training.seconds_per_epoch` a quotient. `scale_free` numbers follow from the
    definition of the metric and hold on every data set with the same phase.
    """

    name: str
    values: tuple[float, ...]
    weights: Weights
    measured: str
    word: str = ""
    scale_free: bool = False


@dataclass(frozen=True)
class Place:
    """Names under which our arm may be stored, and those of the control that it is held against."""

    arms: tuple[str, ...]
    controls: tuple[str, ...] = ()


@dataclass(frozen=True)
class PublishedRow:
    """One published run. `phase`: whether the truth had one; `versus`: the published row whose
    order to this one is compared with ours."""

    name: str
    what: str
    settings: Mapping[str, Scalar]
    phase: bool
    places: Mapping[Scale, Place]
    numbers: tuple[PublishedNumber, ...]
    versus: str | None = None
    facts: Mapping[str, float] = field(default_factory=lambda: PATTERNS)

    def skill(self, loss: float) -> float:
        """Skill of a published loss, by the floors of the published probe."""
        return skill(loss, NOISE_LOSS, CONSTANT_LOSS[self.phase])

    def is_constant(self, name: str, value: float) -> bool:
        """Whether a published value is what a constant object gets."""
        if name == "val_loss":
            return self.skill(value) < NO_SKILL
        return name in FLOOR and abs(value - FLOOR[name]) < FLOOR_DIGITS


# --- settings as published --------------------------------------------------------------------

HYBRID: Mapping[str, Scalar] = {
    "generator.name": "hybrid",
    "generator.fno_blocks": 4,
    "generator.width": 32,
    "generator.modes": 12,
    "generator.mode_set": "corner",
    "loss.name": "mae",
    "optimizer.name": "adam",
    "optimizer.lr": 1e-3,
    "schedule.name": "constant",
    "batch_size": 16,
    "epochs": 50,
}
NORM: Mapping[str, Scalar] = {
    "clip.gradient_clip_algorithm": "norm",
    "clip.gradient_clip_val": 1.0,
}
AGC: Mapping[str, Scalar] = {
    "clip.gradient_clip_algorithm": "agc_tensor",
    "clip.gradient_clip_val": 0.01,
}
UNCLIPPED: Mapping[str, Scalar] = {"clip.gradient_clip_algorithm": "none"}
ZERO_GAMMA: Mapping[str, Scalar] = {
    **HYBRID,
    **UNCLIPPED,
    "generator.name": "stable_hybrid",
    "generator.layerscale_init": None,
}
SHORT: Mapping[str, Scalar] = {**ZERO_GAMMA, "epochs": 20, "optimizer.lr": 3e-4}


# --- what the numbers measured ----------------------------------------------------------------

BEST_LOSS = "lowest validation loss of the run, taken on the test set; no published image is of it"
IMAGE = "one seed, final weights, one test object"
PHASE = "phase SSIM of a zero-phase truth: measures flatness only, and a dead run scores 1.000"
DEAD = "what any constant amplitude scores on that object: the run had died"
DEAD_LOSS = "loss of the best constant object (0.178): the run had died"
DEAD_PHASE_ON = "0.198 is the loss of the best constant object with the phase on: the run had died"
EARLY = "best from epoch ~4, final from other weights: the images beside it are not of this loss"
UNSTEPPED = "the schedule was built and never stepped: a constant learning rate, 20 epochs"
LOST_FLAG = "the optimiser's flag very probably never reached the run: three arms, one number"
UNCAPPED = (
    "the cap very probably never reached the model (276,075,746 parameters were counted, capped "
    "there are 118,263,522)"
)
GRADIENT = "gradient norm before the clip; its scale belongs to the loss, the probe and the width"
ANY_CONSTANT = "the score of any constant on that object, dead runs included"
MACHINE = "862 training and 137 validation steps on an RTX 3090"


def _loss(value: float, weights: Weights, measured: str) -> PublishedNumber:
    return PublishedNumber("val_loss", (value,), weights, measured)


def _image(channel: str, metric: str, measured: str, *values: float) -> PublishedNumber:
    return PublishedNumber(f"published.{channel}.{metric}", values, "last", measured)


def _images(
    ssim: float, phase_ssim: float | None, mae: float | None, measured: str
) -> tuple[PublishedNumber, ...]:
    """The published image scores of one run: amplitude SSIM and MAE, phase SSIM."""
    phase = () if phase_ssim is None else (_image("phase", "ssim", PHASE, phase_ssim),)
    error = () if mae is None else (_image("amplitude", "mae", measured, mae),)
    return (_image("amplitude", "ssim", measured, ssim), *phase, *error)


def _derived(channel: str, metric: str, value: float, measured: str) -> PublishedNumber:
    """What follows from the published object (a floor), or holds on any (scale-free)."""
    name = f"published.{channel}.{metric}"
    free = FLOOR.get(name) != value
    return PublishedNumber(name, (value,), "last", measured, f"{value:g}", scale_free=free)


# The published arms as survival runs at full scale: one image, coupled probe, stopped when dead.
SURVIVAL_ARMS: Mapping[str, tuple[str, ...]] = {
    "control": (),
    "agc": (),
    "stable": ("full/survival_zero_gamma",),
    "stable_layerscale": ("full/survival_layerscale",),
}


def _stage_a(name: str) -> dict[Scale, Place]:
    """The arms of the published protocol (phase off), at full scale else those with the phase."""
    full = ("full/published_control", "full/control")
    controls = () if name == "control" else ("studies/published_control",)
    return {
        "quick": Place((f"studies/published_{name.removeprefix('stable_')}",), controls),
        "full": Place(
            (
                f"full/published_{name.removeprefix('stable_')}",
                f"full/{name}",
                *SURVIVAL_ARMS[name],
            ),
            full if controls else (),
        ),
    }


def _other(name: str, control: str | None = None) -> dict[Scale, Place]:
    """An arm of the other studies, with the same name in both pipelines."""
    return {
        scale: Place((f"{folder}/{name}",), (f"{folder}/{control}",) if control else ())
        for scale, folder in zip(SCALES, ("studies", "full"), strict=True)
    }


ROWS: tuple[PublishedRow, ...] = (
    PublishedRow(
        name="control",
        what="hybrid, 4 blocks, norm clip 1.0, 50 epochs",
        settings={**HYBRID, **NORM},
        phase=False,
        places=_stage_a("control"),
        numbers=(
            _loss(0.0138, "best", BEST_LOSS),
            *_images(0.925, 0.997, 0.063, IMAGE),
            PublishedNumber(
                "training.seconds_per_epoch", (36.0,), "last", MACHINE, word="at most 36 s"
            ),
        ),
    ),
    PublishedRow(
        name="agc",
        what="hybrid, 4 blocks, agc 0.01 with one norm per tensor, 50 epochs",
        settings={**HYBRID, **AGC},
        phase=False,
        places=_stage_a("agc"),
        numbers=(_loss(0.0243, "best", BEST_LOSS), *_images(0.811, 0.989, 0.102, IMAGE)),
        versus="control",
    ),
    PublishedRow(
        name="stable",
        what="stable_hybrid, 4 blocks, zero gamma, no clip, 50 epochs",
        settings=ZERO_GAMMA,
        phase=False,
        places=_stage_a("stable"),
        numbers=(
            _loss(0.1783, "best", DEAD_LOSS),
            _loss(0.178, "last", DEAD_LOSS),
            *_images(0.277, 1.000, 0.513, DEAD),
        ),
        versus="control",
    ),
    PublishedRow(
        name="stable_layerscale",
        what="stable_hybrid, 4 blocks, LayerScale 1e-3, no clip, 50 epochs",
        settings={**ZERO_GAMMA, "generator.layerscale_init": 1e-3},
        phase=False,
        places=_stage_a("stable_layerscale"),
        numbers=(
            _loss(0.0237, "best", EARLY),
            _loss(0.1790, "last", DEAD_LOSS),
            *_images(0.277, 1.000, 0.513, DEAD),
        ),
        versus="control",
    ),
    PublishedRow(
        name="deep_control",
        what="hybrid, 8 blocks, norm clip 1.0",
        settings={**HYBRID, **NORM, "generator.fno_blocks": 8},
        phase=False,
        places={},
        numbers=(
            PublishedNumber(
                "outcome",
                (),
                "last",
                "memory of a network whose deepest grid would have less than one pixel",
                word="out of memory",
            ),
        ),
    ),
    PublishedRow(
        name="deep fallback",
        what="hybrid, 6 blocks, cap 512, norm clip 1.0, 50 epochs",
        settings={
            **HYBRID,
            **NORM,
            "generator.fno_blocks": 6,
            "generator.max_hidden_channels": 512,
        },
        phase=False,
        places=_other("control_d6_cap", "control"),
        numbers=(
            _loss(0.024, "best", f"{BEST_LOSS}; {UNCAPPED}"),
            *_images(0.815, 0.987, 0.105, f"{IMAGE}; {UNCAPPED}"),
            PublishedNumber("history.gradient_norm_median", (8.56,), "last", GRADIENT),
            PublishedNumber("history.gradient_norm_p99", (22.85,), "last", GRADIENT),
            PublishedNumber(
                "history.gradient_norm_max", (39927.0,), "last", f"one spike; {GRADIENT}"
            ),
        ),
        versus="control",
    ),
    PublishedRow(
        name="warmup-cosine",
        what="stable_hybrid, 4 blocks, lr 5e-4, no clip, 20 epochs",
        settings={**SHORT, "optimizer.lr": 5e-4, "schedule.name": "warmup_cosine"},
        phase=True,
        places=_other("stable_warmup_cosine"),
        numbers=(
            _loss(0.024, "best", UNSTEPPED),
            _loss(0.198, "last", DEAD_PHASE_ON),
            *_images(0.277, None, 0.513, DEAD),
        ),
    ),
    *(
        PublishedRow(
            name=optimizer,
            what=f"stable_hybrid, 4 blocks, {optimizer} lr 3e-4, no clip, 20 epochs",
            settings={**SHORT, "optimizer.name": optimizer},
            phase=True,
            places=_other(f"stable_{optimizer}"),
            numbers=(
                _loss(0.0237, "best", LOST_FLAG),
                _loss(0.198, "last", DEAD_PHASE_ON),
                *_images(0.277, None, None, DEAD),
            ),
        )
        for optimizer in ("sgd", "adamw")
    ),
    PublishedRow(
        name="plateau",
        what="hybrid, 4 blocks, reduce on plateau, 20 epochs",
        settings={**HYBRID, "epochs": 20, "schedule.name": "plateau"},
        phase=False,
        places=_other("stable_plateau"),
        numbers=(_loss(0.0303, "best", BEST_LOSS), *_images(0.842, 0.992, 0.094, IMAGE)),
    ),
    PublishedRow(
        name="crash hunt d4",
        what="hybrid, 4 blocks, norm clip 1.0, 30 epochs, 3 seeds",
        settings={**HYBRID, **NORM, "epochs": 30},
        phase=False,
        places=_other("control"),
        numbers=(
            _image(
                "amplitude",
                "ssim",
                "three seeds, one of them a constant object; against depth 6 Fisher's p is 1.0",
                0.898,
                0.277,
                0.768,
            ),
        ),
    ),
    PublishedRow(
        name="crash hunt d6",
        what="hybrid, 6 blocks, norm clip 1.0, 30 epochs, 3 seeds",
        settings={**HYBRID, **NORM, "epochs": 30, "generator.fno_blocks": 6},
        phase=False,
        places=_other("control_d6"),
        numbers=(
            PublishedNumber(
                "published.amplitude.ssim",
                (0.78, 0.80),
                "last",
                "three seeds, published as a range: none of them died",
                word="0.78 to 0.80",
            ),
        ),
    ),
    PublishedRow(
        name="flat (floor)",
        what="a constant object; not published, follows from the object and the metric",
        settings={},
        phase=False,
        places={
            "quick": Place(("studies/published_flat",)),
            "full": Place(("full/published_flat", "full/flat")),
        },
        numbers=(
            _derived("amplitude", "ssim", FLOOR["published.amplitude.ssim"], ANY_CONSTANT),
            _derived("amplitude", "mae", FLOOR["published.amplitude.mae"], ANY_CONSTANT),
            _derived("phase", "ssim", 1.0, PHASE),
        ),
        facts={"training.patterns": 1089.0},
    ),
    PublishedRow(
        name="oracle (ceiling)",
        what="the true patches through the same stitching; not published, 1 and 0 by definition",
        settings={},
        phase=False,
        places={
            "quick": Place(("studies/published_oracle",)),
            "full": Place(("full/published_oracle", "full/oracle")),
        },
        numbers=(
            _derived("amplitude", "ssim", 1.0, "the ceiling"),
            _derived("amplitude", "mae", 0.0, "the ceiling"),
            _derived("phase", "ssim", 1.0, "the ceiling, which a flat object shares"),
        ),
        facts={},
    ),
)
