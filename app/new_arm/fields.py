"""The fields of a row with their types, choices and bounds, read from the JSON schema of its model.

The schemas of the networks come from `app.new_arm.networks`, because they need torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from study.settings import CLIP_LIMITS, IDLE, OPTIONAL, PROSE, Row

# Page headings for the sections of the model and for top-level fields. Whatever is not named here
# appears under the last heading.
HEADINGS: Mapping[str, tuple[str, ...]] = {
    "Network": ("generator",),
    "Method": ("source",),
    "Optimiser": ("optimizer",),
    "Schedule": ("schedule",),
    "Loss": ("loss",),
    "Clipping": ("clip",),
    "Budget": ("epochs", "batch_size"),
    "Data": ("data", "batch_order"),
    "Seeds": ("order_seed",),
    "Precision": ("precision",),
    "Other settings": (),
}
Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Field:
    """One leaf of a row. Empty `choices`: a text field, whose accepted values are in `hint`."""

    path: str
    choices: tuple[str, ...]
    hint: str

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]


@dataclass(frozen=True)
class Section:
    """A part of a row. `variants`: fields per `name` of the section; a section without a `name` has
    the single variant ""."""

    path: str
    variants: Mapping[str, tuple[Field, ...]]


def sections(row: Row, networks: Mapping[str, Schema], data: Sequence[str]) -> list[Section]:
    """The sections of a row of this kind, in the order of the model."""
    schema = _schema(type(row))
    found = []
    for name, part in schema["properties"].items():
        if name in PROSE or (name in OPTIONAL and getattr(row, name) is None):
            continue
        if name == "generator":
            variants = {net: _fields(name, net_schema) for net, net_schema in networks.items()}
        else:
            variants = _variants(name, part, schema)
        acting = {v: [f for f in fields if f.path not in IDLE] for v, fields in variants.items()}
        found.append(Section(name, {v: _offered(fields, data) for v, fields in acting.items()}))
    return found


def grouped(parts: Sequence[Section]) -> Iterator[tuple[str, list[Section]]]:
    """All sections, grouped under their headings."""
    named = {path for paths in HEADINGS.values() for path in paths}
    for heading, paths in HEADINGS.items():
        mine = [p for p in parts if p.path in paths or (not paths and p.path not in named)]
        if mine:
            yield heading, mine


@cache
def _schema(model: type[Row]) -> Schema:
    return model.model_json_schema()


def _variants(name: str, part: Schema, schema: Schema) -> dict[str, tuple[Field, ...]]:
    mapping = part.get("discriminator", {}).get("mapping")
    if mapping:
        targets = {variant: _resolved({"$ref": ref}, schema) for variant, ref in mapping.items()}
        return {variant: _fields(name, target) for variant, target in targets.items()}
    target = _resolved(part, schema)
    if "properties" in target:
        return {"": _fields(name, target)}
    return {"": (_field(name, target),)}


def _resolved(part: Schema, schema: Schema) -> Schema:
    options = part.get("anyOf", [part])
    reference = next((option["$ref"] for option in options if "$ref" in option), None)
    return part if reference is None else schema["$defs"][reference.rpartition("/")[2]]


def _fields(section: str, schema: Schema) -> tuple[Field, ...]:
    items = schema["properties"].items()
    return tuple(_field(f"{section}.{key}", part) for key, part in items if key != "name")


def _field(path: str, part: Schema) -> Field:
    options = [option for option in part.get("anyOf", [part]) if option.get("type") != "null"]
    inner = options[0] if options else part
    null = len(options) < len(part.get("anyOf", options))
    if inner.get("type") == "boolean":
        return Field(path, ("false", "true"), "")
    if "enum" in inner:
        return Field(path, (*(str(value) for value in inner["enum"]), *(("null",) * null)), "")
    kind = {"integer": "a whole number", "number": "a number"}.get(inner.get("type", ""), "a word")
    bounds = [f"{sign} {inner[key]:g}" for key, sign in BOUNDS.items() if key in inner]
    return Field(path, (), " ".join([kind, " and ".join(bounds), "or null" * null]).strip())


BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def _offered(fields: Sequence[Field], data: Sequence[str]) -> tuple[Field, ...]:
    """Add the choices that are not in the models: clip rules and the data sets of this checkout."""
    choices = {"clip.gradient_clip_algorithm": tuple(CLIP_LIMITS), "data": tuple(data)}
    return tuple(Field(f.path, choices.get(f.path, f.choices), f.hint) for f in fields)
