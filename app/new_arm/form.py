"""The form as data: the text of each field, its difference from the base, and its errors.

Texts come from the widgets; a widget that does not exist yet takes its text from the address
(?set=epochs=20), or else from the base. They become the "section.field=value" settings that the
command line accepts, and are validated by the same code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.new_arm.fields import Field, Section, grouped
from study.editing.arms import Takes, changed_block, spelled
from study.settings import Row, Scalar, UserError


@dataclass(frozen=True)
class Cell:
    """One widget. `default`: its initial text; `before`: the value in the base, None where the base
    does not have this field."""

    field: Field
    key: str
    default: str
    before: str | None
    text: str

    @property
    def changed(self) -> bool:
        return self.text != self.before

    @property
    def setting(self) -> str | None:
        same = self.text == self.default
        return None if same else f"{self.field.path}={self.text}"


Read = Callable[[str, str, str], str]  # (widget key, path, default) -> text


def cells(
    base: str, row: Row, parts: Sequence[Section], takes: Takes, read: Read
) -> dict[str, list[Cell]]:
    """All cells, grouped by heading. Raises UserError for settings that do not apply to the row."""
    block = spelled(row)
    return {
        heading: [
            cell
            for part in mine
            for cell in _section(f"new:{base}:", block, row, part, takes, read)
        ]
        for heading, mine in grouped(parts)
    }


def settings_of(form: Mapping[str, Sequence[Cell]]) -> tuple[str, ...]:
    """Changed settings; names come first, so that a section has its fields before they are set."""
    found = [cell.setting for group in form.values() for cell in group if cell.setting]
    leads = ("name", "gradient_clip_algorithm")
    return tuple(sorted(found, key=lambda s: s.partition("=")[0].rpartition(".")[2] not in leads))


def wrong(sentence: str, form: Mapping[str, Sequence[Cell]]) -> dict[str, str]:
    """The parts of an error message by the field they mention; "" for parts without a field."""
    found: dict[str, str] = {}
    paths = [cell.field.path for group in form.values() for cell in group]
    for part in re.split(r"; (?=arms\.|new arm|option |generator |unknown key )", sentence):
        named = [path for path in paths if _names(part, path)]
        where = max(named, key=len, default="")
        message = re.sub(r"^(new arm: )?(arms\.\w+\.)?", "", part).removeprefix(f"{where}: ")
        found[where] = f"{found[where]}; {message}" if where in found else message
    return found


def no_choices(form: Mapping[str, Sequence[Cell]], asked: Mapping[str, str]) -> list[str]:
    """Warnings about values in the address that are not among a field's choices (ignored)."""
    return [
        f"the address sets {path}={asked[path][:60]!r}; accepted: {', '.join(cell.field.choices)}"
        for group in form.values()
        for cell in group
        if (path := cell.field.path) in asked
        and cell.field.choices
        and asked[path].strip() not in cell.field.choices
    ]


def _names(part: str, path: str) -> bool:
    section, _, field = path.rpartition(".")
    if re.search(rf"(^|[\s.]){re.escape(path)}\b", part):
        return True
    if section == "generator":
        return f"option {field!r}" in part
    return bool(section) and "arms." in part and f"{field} " in part and f".{section}:" in part


def _section(
    prefix: str,
    base: Mapping[str, Any],
    row: Row,
    part: Section,
    takes: Takes,
    read: Read,
) -> list[Cell]:
    """The cell for the section's name, if it has one, and the fields that belong to that name."""
    names = tuple(part.variants)
    if names == ("",):
        return _leaves(prefix, base, row, part.variants[""], takes, read)
    now = str(base[part.path]["name"])
    field = Field(f"{part.path}.name", names if now in names else (*names, now), "")
    # Until the names are known a placeholder widget is used, so that the address is applied later.
    name = _cell(prefix if names else f"{prefix}awaited:", field, now, now, read)
    block = base if name.setting is None else changed_block(base, row, (name.setting,), takes)
    fields = part.variants.get(name.text, ())
    return [name, *_leaves(prefix, block, row, fields, takes, read, base)]


def _leaves(
    prefix: str,
    block: Mapping[str, Any],
    row: Row,
    fields: Sequence[Field],
    takes: Takes,
    read: Read,
    base: Mapping[str, Any] | None = None,
) -> list[Cell]:
    found: list[Cell] = []
    original = block if base is None else base
    for field in fields:
        cell = _cell(prefix, field, _at(block, field.path), _at(original, field.path), read)
        found.append(cell)
        if field.path == "clip.gradient_clip_algorithm" and cell.setting is not None:
            block = changed_block(block, row, (cell.setting,), takes)
    return found


def _cell(prefix: str, field: Field, default: str | None, before: str | None, read: Read) -> Cell:
    shown = default if default is not None else (field.choices[0] if field.choices else "")
    key = f"{prefix}{field.path}:{shown}"
    text = read(key, field.path, shown).strip()
    if field.choices and text not in field.choices:
        text = shown
    # A field added by the section's new name counts as set even if its text was not edited.
    return Cell(field, key, shown if default is not None else "\0", before, text)


def _at(block: Mapping[str, Any], path: str) -> str | None:
    node: Any = block
    for part in path.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return None
        node = node[part]
    return word(node)


def word(value: Scalar) -> str:
    """A value as it is written in params.yaml."""
    return value if isinstance(value, str) else json.dumps(value)


def parsed_address(values: Sequence[str], known: Sequence[str]) -> dict[str, str]:
    """Parse ?set=epochs=20&set=... into path -> text. Raises UserError for an unknown field."""
    found = {}
    for value in values[:100]:
        path, equals, text = value.partition("=")
        if not equals or path not in known:
            raise UserError(f"the address sets {value[:60]!r}, which is not a field of this arm")
        found[path] = text[:200]
    return found
