"""Checks that several tests share.

`checked`: the type checker of the tests, beartype, with an int accepted where a float is asked for.
"""

import json
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from beartype import BeartypeConf, beartype
from pydantic import BaseModel

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))


def completed(content: Any, shape: Any) -> Any:
    """`content` with every required field of `shape` that it lacks: null, "", 0, [] or {}."""
    origin, parts = typing.get_origin(shape), typing.get_args(shape)
    if origin is typing.Annotated:
        return completed(content, parts[0])
    if origin in (typing.Union, types.UnionType):
        models = [part for part in parts if part is not type(None)]
        return content if content is None else completed(content, models[0])
    if origin in (dict, Mapping) and isinstance(content, Mapping):
        return {key: completed(value, parts[1]) for key, value in content.items()}
    if origin in (list, Sequence) and isinstance(content, list):
        return [completed(value, parts[0]) for value in content]
    if not (isinstance(shape, type) and issubclass(shape, BaseModel) and isinstance(content, dict)):
        return content
    fields = shape.model_fields
    return {
        **content,
        **{
            name: completed(content[name], f.annotation)
            for name, f in fields.items()
            if name in content
        },
        **{
            name: _neutral(field.annotation)
            for name, field in fields.items()
            if name not in content and field.is_required()
        },
    }


def _neutral(shape: Any) -> Any:
    origin, parts = typing.get_origin(shape) or shape, typing.get_args(shape)
    if type(None) in parts:
        return None
    if origin is typing.Annotated:
        return _neutral(parts[0])
    if origin in (Mapping, Sequence):
        return {} if origin is Mapping else []
    if origin is typing.Literal:
        return parts[0]
    if isinstance(origin, type) and issubclass(origin, BaseModel):
        return completed({}, origin)
    return origin()


STAR = Path("shared", "data", "siemens-star-small.npz.bz2")


def find_measured_star() -> Path | None:
    """The measured Siemens star in shared/data above this checkout, if it is there."""
    above = (folder / STAR for folder in Path(__file__).resolve().parents[2:])
    return next((file for file in above if file.is_file()), None)


def measured_star() -> Path:
    """The measured Siemens star; skips the test without it."""
    found = find_measured_star()
    if found is None:
        pytest.skip(f"no folder above this checkout has the measured Siemens star ({STAR})")
    return found


def events_of(run: Any) -> list[dict[str, Any]]:
    """Every event of a run, complete lines only."""
    text = run.events_file.read_text() if run.events_file.is_file() else ""
    return [json.loads(line) for line in text.split("\n")[:-1]]


def list_recorded(root: Path) -> None:
    """recorded.json of every pipeline folder below `root`, for all results that it has now."""
    from study.runs.recorded import Recorded, stored, write_recorded  # after the checker is set

    for results in root.glob("*/results"):
        files = [file for file in sorted(results.rglob("*")) if file.is_file()]
        entries = {f.relative_to(results).as_posix(): stored(f.read_bytes()) for f in files}
        write_recorded(results.parent, Recorded(files=entries))
