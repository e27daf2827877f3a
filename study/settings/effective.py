"""Compare the settings that an arm requests with those that its built objects report.

A run writes what its objects report to its params.yaml (`study.training.setup.describe`). Training
refuses a difference before the first step, and scoring refuses a stored run that has one. So the
settings shown with a result are those that were in effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from study.reading import UserError
from study.settings.base import Scalar

HEADS = {
    "real_imag": "RealImagHead",
    "amp_phase": "AmpPhaseHead",
    "amp_phase_logits": "AmpPhaseLogitsHead",
}
OPTIMIZERS = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD"}
NORMS = {"none": ["none"], "group": ["GroupNorm"]}

# Settings that the built objects do not report, and where their effect can be seen.
NOT_REPORTED: Mapping[str, str] = {
    "data": "the hash of the data set, in the run's origin",
    "generator.layers": "the number of parameters",
    "generator.kernel": "the number of parameters",
    "generator.coarsening": "the number of parameters",
    **dict.fromkeys(
        (
            f"schedule.{key}"
            for key in ("warmup_epochs", "final_ratio", "gamma", "factor", "patience")
        ),
        "learning_rate of history.csv",
    ),
}

MISSING = "not reported"

Built = Mapping[str, Any]
Reading = Callable[[Any, Built], Any]


def differences(requested: Mapping[str, Scalar], built: Built) -> dict[str, tuple[Any, Any]]:
    """The settings whose built object reports another value: name -> (requested, reported).

    `requested`: dotted name -> value, as `leaves` of the arm gives it. `built`: the nested
    description of the objects. A setting that they do not report is `MISSING`; those of
    `NOT_REPORTED` are left out.
    """
    found = {name: _read(name, value, built) for name, value in requested.items()
             if name not in NOT_REPORTED}  # fmt: skip
    return {
        name: (requested[name], value) for name, value in found.items() if value != requested[name]
    }


def refuse_differences(requested: Mapping[str, Scalar], built: Built, what: str) -> None:
    """Raise UserError, which names the settings, if `what` does not use the requested ones.

    A setting that is not reported cannot be compared: a network of one's own reports its options in
    `effective()`, and runs of earlier versions report less.
    """
    found = differences(requested, built)
    lost = {name: pair for name, pair in found.items() if pair[1] != MISSING}
    if lost:
        each = "; ".join(
            f"{name} is {used!r}, requested was {wanted!r}" for name, (wanted, used) in lost.items()
        )
        raise UserError(
            f"{what} does not use the requested settings: {each}. The arm is not the cause: a "
            "setting does not reach its object. Report this defect, and do not use the run"
        )


def _read(name: str, value: Any, built: Built) -> Any:
    reading = READINGS.get(name) or _at(*name.split("."))
    try:
        return reading(value, built)
    except (KeyError, TypeError, IndexError, AttributeError, ValueError):
        return MISSING


# --- how each setting is read ------------------------------------------------------------------


def _at(*path: str) -> Reading:
    def read(value: Any, built: Built) -> Any:
        for key in path:
            built = built[key]
        return built

    return read


def _known(table: Mapping[str, Any], *path: str) -> Reading:
    """The name in `table` of what is reported; the report itself if it has no name."""

    def read(value: Any, built: Built) -> Any:
        reported = _at(*path)(value, built)
        return next((name for name, known in table.items() if known == reported), reported)

    return read


def _of_blocks(key: str) -> Reading:
    """The value that all Fourier blocks share, or all their values."""

    def read(value: Any, built: Built) -> Any:
        values = {block[key] for block in built["generator"]["blocks"].values()}
        return values.pop() if len(values) == 1 else sorted(values)

    return read


def _blocks(value: Any, built: Built) -> int:
    return sum(name != "bottleneck" for name in built["generator"]["blocks"])


def _modes(value: Any, built: Built) -> int:
    return max(block["modes"] for block in built["generator"]["blocks"].values())


def _layerscale(value: Any, built: Built) -> Any:
    """Whether the blocks have the scale; its first value is not reported."""
    scaled = {block["layerscale"] for block in built["generator"]["blocks"].values()}
    return value if scaled == {value is not None} else f"layerscale in blocks: {sorted(scaled)}"


def _width(value: Any, built: Built) -> Any:
    """Channels of the first level; a refinement of one layer has no width."""
    return None if value is None else built["generator"]["channels_per_level"][0]


def _cap(value: Any, built: Built) -> Any:
    widest = max(built["generator"]["channels_per_level"])
    return value if value is None or widest <= value else widest


def _steps(value: Any, built: Built) -> Any:
    """Of every iteration of an unrolled network, without the final ones."""
    generator = built["generator"]
    values = {*generator["steps"][: generator["iterations"]]}
    return values.pop() if len(values) == 1 else sorted(values)


def _final_steps(value: Any, built: Built) -> int:
    generator = built["generator"]
    return sum(generator["steps"][generator["iterations"] :])


def _refinement(value: Any, built: Built) -> str:
    generator = built["generator"]
    networks = generator["refinements"]
    if networks == 1 == generator["iterations"]:
        return value
    return {0: "none", 1: "shared", generator["iterations"]: "own"}.get(networks, str(networks))


def _limit(value: Any, built: Built) -> Any:
    """The rule `none` has a limit of 0 in the step and null in the settings."""
    clip = built["clip"]
    return None if clip["rule"] == "none" and clip["limit"] == 0 else clip["limit"]


def _exclude_head(value: Any, built: Built) -> bool:
    return bool(built["clip"]["excluded_parameters"])


def _rate(value: Any, built: Built) -> Any:
    """A schedule changes the rate of the optimiser; only a constant one leaves it as requested."""
    return built["optimizer"]["lr"] if built["schedule"]["name"] == "constant" else value


def _optimizer(value: Any, built: Built) -> str:
    name = built["optimizer"]["class"].rpartition(".")[2]
    return next((key for key, known in OPTIMIZERS.items() if known == name), name)


def _order_seed(value: Any, built: Built) -> Any:
    """Null stands for the seed of the weights."""
    seeds = built["seeds"]
    return value if value is None and seeds["order"] == seeds["weights"] else seeds["order"]


READINGS: Mapping[str, Reading] = {
    **{
        f"generator.{key}": _at("generator", key)
        for key in (
            "name",
            "input_transform",
            "inputs",
            "start",
            "patterns",
            "iterations",
            "alpha",
            "smoothing_px",
            "modulus",
            "synchronise",
        )
    },
    **{f"generator.{key}": _of_blocks(key) for key in ("mode_set", "spectral_init")},
    "generator.width": _width,
    "generator.fno_blocks": _blocks,
    "generator.modes": _modes,
    "generator.max_hidden_channels": _cap,
    "generator.decoder_norm": _known(NORMS, "generator", "decoder_norms"),
    "generator.output_mode": _known(HEADS, "generator", "head"),
    "generator.layerscale_init": _layerscale,
    "generator.steps": _steps,
    "generator.final_steps": _final_steps,
    "generator.refinement": _refinement,
    "optimizer.name": _optimizer,
    "optimizer.lr": _rate,
    "optimizer.weight_decay": _at("optimizer", "weight_decay"),
    "optimizer.momentum": _at("optimizer", "momentum"),
    "schedule.name": _at("schedule", "name"),
    "clip.gradient_clip_algorithm": _at("clip", "rule"),
    "clip.gradient_clip_val": _limit,
    "clip.exclude_head": _exclude_head,
    "order_seed": _order_seed,
    **{
        name: _at(*name.split("."))
        for name in (
            "loss.name",
            "loss.overlap_weight",
            "legacy.batch_coupled_probe",
            "epochs",
            "batch_size",
            "batch_order",
            "precision",
            *(
                f"survival.{key}"
                for key in (
                    "learned_skill",
                    "lost_skill",
                    "lost_validations",
                    "deadline_epochs",
                )
            ),
        )
    },
}
