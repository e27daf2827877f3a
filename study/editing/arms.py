"""Add an arm: one block in params.yaml in the style of the others, written whole or not at all.

If the file has an anchored arm (`control: &control`), a block is `<<: *control` and the settings
that differ, which is equivalent to listing every setting.

The command line and the app call the same functions. The block is inserted and every other line
stays, so comments and order are kept. The file is read and validated under its lock before anything
is written, so that changes of another editor are kept.

    planned     the arm that a draft describes, from settings only: nothing is read or written
    with_arm    the text of params.yaml with that arm; `study.editing.claiming.add` writes it
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap

from study.editing.yaml_file import (
    copied,
    flow_list,
    inserted,
    plain_nodes,
    read,
)
from study.reading import parse_yaml, quoted
from study.settings import (
    CLIP_LIMITS,
    MOST_SEEDS,
    Arm,
    Row,
    Scalar,
    Study,
    UserError,
    check_name,
    diff,
    leaves,
    nearest,
    seeds_text,
)
from study.settings import parse_study as parse

# Which fields a named section keeps when its name changes, and what a new field starts from.
FIRST_VALUES: Mapping[str, Mapping[str, Scalar]] = {
    "mae": {"overlap_weight": 0.0},
    "poisson": {"overlap_weight": 0.0},
    "adamw": {"weight_decay": 0.01},
    "sgd": {"momentum": 0.9},
    "warmup_cosine": {"warmup_epochs": 1, "final_ratio": 0.01},
    "exponential": {"gamma": 0.95},
    "plateau": {"factor": 0.5, "patience": 3},
    "stable_hybrid": {"layerscale_init": 0.001},
    "unrolled": {
        "patterns": 4,
        "iterations": 6,
        "steps": 5,
        "final_steps": 10,
        "alpha": 0.01,
        "smoothing_px": 0.8,
        "modulus": "replaced",
        "refinement": "own",
        "layers": 4,
        "kernel": 3,
        "coarsening": 1,
        "synchronise": True,
    },
    "back_projection": {"steps": 1},
    "from_amplitude": {"steps": 1},
    "group_steps": {
        "steps": 20,
        "kind": "simultaneous",
        "alpha": 0.1,
        "smoothing_px": 0.0,
        "synchronise": True,
    },
    "cramer_rao": {"patterns": 1},
    "rpie": {"passes": 100, "alpha": 0.1, "update_probe": False, "seed": 0},
}
OWN_FIELDS = frozenset(field for values in FIRST_VALUES.values() for field in values)
LONGEST_QUESTION = 300
# Names of the options of each network (`study arms fields`): this file does not import networks.
Takes = Mapping[str, Collection[str]]


@dataclass(frozen=True)
class Draft:
    """A requested arm: `base` with `settings` ("section.field=value") changed.

    `asks` None: the question is put together from the difference. `seeds` None: those of the base.
    """

    name: str
    base: str
    settings: tuple[str, ...] = ()
    asks: str | None = None
    seeds: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Planned:
    """The arm of a draft. `changes`: factor -> (base, new); `twin`: an arm with equal settings."""

    row: Row
    changes: Mapping[str, tuple[Scalar, Scalar]]
    twin: str | None


def planned(study: Study, draft: Draft, takes: Takes | None = None) -> Planned:
    """The arm that `draft` describes in `study`; nothing is read or written. Raises UserError for
    invalid names, names of other arms, unknown fields, values of the wrong type, and changes
    without effect. Exactly this arm may exist already: repeating a killed command completes it.
    """
    return _plan(study, lambda _, row: spelled(row), draft, takes)[0]


def with_arm(
    params_file: Path, draft: Draft, takes: Takes | None = None, seen: Row | None = None
) -> tuple[Row, str]:
    """The new row, and the whole file with it. The caller holds `lock`. Raises as `extended`."""
    text, document = read(params_file)
    return extended(text, document, params_file, draft, takes, seen)


def extended(
    text: str,
    document: CommentedMap,
    params_file: Path,
    draft: Draft,
    takes: Takes | None = None,
    seen: Row | None = None,
) -> tuple[Row, str]:
    """The new row, and `text` (a params.yaml, loaded as `document`) with it.

    The text is unchanged if it contains exactly this arm already. `seen`: the row that the user has
    checked; if the base has changed since, so that a different row would be written, the change is
    refused. Raises UserError for that, for what `planned` refuses, and if another arm has the same
    settings.
    """
    study = parse(plain_nodes(document), str(params_file))
    plan, block = _plan(study, lambda name, _: document["arms"][name], draft, takes)
    if plan.twin is not None:
        raise UserError(f"arm {plan.twin!r} has these settings already; use it, or change a field")
    if seen is not None and seen != plan.row:
        raise UserError(f"{draft.base!r} has changed in {params_file}; check the difference again")
    if draft.name in study.arms:
        return plan.row, text
    longer = inserted(text, document, draft.name, block)
    written = parse(parse_yaml(longer, params_file), str(params_file))
    if written.arms != {**study.arms, draft.name: plan.row}:
        raise UserError(
            f"{params_file} cannot be extended without changing it; add the arm by hand"
        )
    return plan.row, longer


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds from a text such as "1-6, 11". Raises UserError for anything else."""
    seeds: list[int] = []
    for part in re.split(r"[,\s]+", text.strip()):
        match = re.fullmatch(r"(\d{1,10})(?:-(\d{1,10}))?", part, re.ASCII)
        if match is None:
            raise UserError(
                f"seeds are {quoted(text)}; accepted: numbers and ranges, such as 1-6, 11"
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if not 0 <= last - first < MOST_SEEDS or len(seeds) + last - first >= MOST_SEEDS:
            raise UserError(f"seeds {part} are an empty range or more than {MOST_SEEDS} seeds")
        seeds.extend(range(first, last + 1))
    return tuple(seeds)


def command(draft: Draft) -> list[str]:
    """The words of the equivalent command line."""
    words = ["study", "arms", "new", draft.name, "--from", draft.base]
    words += [word for setting in draft.settings for word in ("--set", setting)]
    words += [] if draft.seeds is None else ["--seeds", seeds_text(draft.seeds).replace(" ", "")]
    return words + ([] if draft.asks is None else ["--asks", draft.asks])


# --- the block --------------------------------------------------------------------------------


def _plan(
    study: Study, block_of: Callable[[str, Row], Any], draft: Draft, takes: Takes | None
) -> tuple[Planned, dict[str, Any]]:
    """The plan and the block to write; `block_of` gives the base's block by name and row."""
    name, base = check_name(draft.name), draft.base
    if base not in study.arms:
        raise UserError(f"no arm {base!r} to start from{nearest(base, study.arms)}")
    row = study.arms[base]
    block = changed_block(block_of(base, row), row, draft.settings, takes)
    if draft.seeds is not None:
        block["seeds"] = flow_list(_seeds_for(row, base, draft.seeds))
    plan = _described(block, draft, study)
    if study.arms.get(name, plan.row) != plan.row:
        raise UserError(f"arm {name!r} already exists with other settings; choose another name")
    return plan, block


def spelled(row: Row) -> dict[str, Any]:
    """The row as a block of the file."""
    block = row.model_dump(mode="json")
    return {**block, "generator": row.generator.flat()} if isinstance(row, Arm) else block


def changed_block(
    base: Mapping[str, Any], row: Row, settings: Sequence[str], takes: Takes | None = None
) -> dict[str, Any]:
    """A copy of `base`, the block of `row`, with the settings. Raises UserError for an invalid
    setting.

    The order of settings of different fields does not matter: a name or clip rule resets fields of
    its section, so names and rules are applied first.
    """
    block = copied(base)
    known = leaves(row)
    for key, text in sorted(map(_key_and_value, settings), key=lambda pair: not _resets(pair[0])):
        path = _full_name(key, known, block, takes or {})
        *sections, field = path.split(".")
        target = block
        for section in sections:
            target = target[section]
        target[field] = _value(path, text)
        _follow_name(block, path, target, takes or {})
    return block


def _key_and_value(setting: str) -> tuple[str, str]:
    key, separator, text = setting.partition("=")
    if not separator:
        raise UserError(f"--set takes section.field=value; got {quoted(setting)}")
    return key.strip(), text


def _resets(key: str) -> bool:
    """Whether setting `key` resets other fields of its section (see `_follow_name`)."""
    return key.endswith(".name") or (key.startswith("clip.") and key.endswith("algorithm"))


def _value(path: str, text: str) -> Scalar:
    """One number, word, true, false or null, as in the file."""
    try:
        value = parse_yaml(text, path)
    except UserError:
        value = ()
    if value is not None and not isinstance(value, (bool, int, float, str)):
        raise UserError(
            f"{path}: accepted: one number, word, true, false or null; got {quoted(text)}"
        )
    return value


def _seeds_for(row: Row, base: str, seeds: tuple[int, ...]) -> list[int]:
    if not isinstance(row, Arm):
        raise UserError(f"{base!r} is not a network: it has one run and accepts no seeds")
    return list(seeds)


def _full_name(key: str, known: Mapping[str, Any], block: Mapping[str, Any], takes: Takes) -> str:
    """`clip.algorithm` means `clip.gradient_clip_algorithm` when that is the only such field."""
    section, _, field = key.rpartition(".")
    if key in known or (field in OWN_FIELDS and isinstance(block.get(section), Mapping)):
        return key
    options = takes.get(str(block.get("generator", {}).get("name")), ())
    if section == "generator" and field in options:
        return key
    endings = [
        name for name in known if name.startswith(f"{section}.") and name.endswith(f"_{field}")
    ]
    if len(endings) == 1 and section:
        return endings[0]
    every = sorted({*known, *(f"generator.{option}" for option in options)})
    raise UserError(f"unknown field {key!r}{nearest(key, every)}")


def _follow_name(block: Mapping[str, Any], path: str, target: dict[str, Any], takes: Takes) -> None:
    """A new rule or name adds its own fields with their default values and removes the old ones."""
    value = target[path.rsplit(".", 1)[-1]]
    if path == "clip.gradient_clip_algorithm" and value in CLIP_LIMITS:
        block["clip"]["gradient_clip_val"] = CLIP_LIMITS[value]
        if value == "none":
            block["clip"]["exclude_head"] = False
    elif path.endswith(".name"):
        own = FIRST_VALUES.get(str(value), {})
        kept = takes.get(str(value)) if path == "generator.name" else None
        stays = own if kept is None else kept
        movable = OWN_FIELDS if kept is None else set(target) - {"name"}
        for field in [field for field in target if field in movable and field not in stays]:
            del target[field]
        for field, first in own.items():
            target.setdefault(field, first)


def _described(block: dict[str, Any], draft: Draft, study: Study) -> Planned:
    """Fill in `asks`, `versus` and `changes` from the difference to the base."""
    name, base = draft.name, draft.base
    trial = parse(
        {
            "data": {k: v.model_dump() for k, v in study.data.items()},
            "arms": {name: {**plain_nodes(block), "versus": None}},
        },
        "new arm",
    )
    changes = diff(study.arms[base], trial.arms[name])
    if not changes:
        raise UserError(f"arm {name!r} would equal {base!r}; change a field with --set")
    block["asks"] = _question(draft, changes)
    block["versus"] = base
    block["changes"] = flow_list(sorted(changes))
    row = trial.arms[name].model_copy(
        update={"asks": block["asks"], "versus": base, "changes": tuple(sorted(changes))}
    )
    acting = leaves(row)
    others = ((other, r) for other, r in study.arms.items() if other != name)
    twin = next((other for other, r in others if leaves(r) == acting), None)
    return Planned(row, changes, twin)


def _question(draft: Draft, changes: Mapping[str, tuple[Scalar, Scalar]]) -> str:
    """The question on one line. Raises UserError if it is too long or has unprintable
    characters."""
    if not (requested := " ".join((draft.asks or "").split())):
        new = ", ".join(f"{key} = {value_text(value)}" for key, (_, value) in changes.items())
        return f"What does {new} change compared with {draft.base}?"
    if len(requested) > LONGEST_QUESTION or not requested.isprintable():
        raise UserError(
            f"the question has {len(requested)} characters or unprintable ones; accepted: one "
            f"sentence of up to {LONGEST_QUESTION} printable ones"
        )
    return requested


def value_text(value: Scalar) -> str:
    """A value as it is written in the file."""
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)
