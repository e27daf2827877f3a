"""The errors of pydantic as sentences: key, what was found, what is accepted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from study.reading import joined, quoted
from study.settings.base import Model, nearest


def explain(error: ValidationError, given: Any, where: str, root: type[BaseModel]) -> str:
    """pydantic's findings as one sentence each: key, what was got, what is accepted.

    `given` was read as a `root`; `where`: its key in the file, "" for the whole.
    """
    found = error.errors(include_url=False)
    return joined([_sentence(item, root, given, where) for item in found])


def _sentence(item: Any, root: type[BaseModel], given: Any, where: str) -> str:
    keys, model = _follow(root, given, item["loc"])
    path = ".".join([where, *keys] if where else keys) or "the file"
    if item["type"] == "extra_forbidden":
        return f"unknown key {path}{nearest(keys[-1], _known(model))}"
    if item["type"] == "missing":
        advice = "; every field has to be given (see `study arms show control`)"
        return f"{path} is missing{advice if where.startswith('arms.') else ''}"
    if item["type"] == "value_error":
        return f"{path}: {item['ctx']['error']}" if keys or where else str(item["ctx"]["error"])
    if item["type"] == "union_tag_invalid":
        tag, known = item["ctx"]["tag"], item["ctx"]["expected_tags"].replace("'", "").split(", ")
        return f"{path}: unknown {path.rsplit('.', 1)[-1]} {quoted(tag)}{nearest(tag, known)}"
    return f"{path}: {item['msg']}; got {quoted(item.get('input'))}"


def _known(model: type[BaseModel]) -> list[str]:
    return model.known_keys() if issubclass(model, Model) else list(model.model_fields)


def _follow(root: type[BaseModel], given: Any, location: Any) -> tuple[list[str], type[BaseModel]]:
    """The keys of the file along pydantic's `location`, and the model that holds the last one.

    pydantic adds the tag of a discriminated union and the member of a plain one to its path; they
    are not keys of the file.
    """
    keys: list[str] = []
    model, holder = root, root
    annotation: Any = None
    for part in location:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
        chosen = [option for option in _models_in(annotation) if _tag(option) == part]
        if chosen:
            model = annotation = chosen[0]
            continue
        if not isinstance(given, Mapping) and not isinstance(part, int):
            break
        keys.append(str(part))
        holder = model
        annotation = _annotation(model, annotation, part)
        given = _entry(given, part)
    return keys, holder


def _entry(given: Any, part: Any) -> Any:
    if isinstance(given, Mapping):
        return given.get(part)
    return given[part] if isinstance(given, (list, tuple)) and isinstance(part, int) else None


def _annotation(model: type[BaseModel], annotation: Any, part: Any) -> Any:
    origin_of_values = getattr(annotation, "__args__", ())
    if len(origin_of_values) == 2 and origin_of_values[0] is str:
        return origin_of_values[1]  # Mapping[str, X]: a name was followed
    if isinstance(part, int):
        return origin_of_values[0] if origin_of_values else Any  # tuple[X, ...]
    field = model.model_fields.get(str(part))
    options = _models_in(field.annotation) if field else []
    if field and len(options) == 1 and None.__class__ in get_args(field.annotation):
        return options[0]  # X | None: something was given
    return field.annotation if field else Any


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models_in(part)]


def _tag(model: type[BaseModel]) -> str | None:
    for key in ("name", "kind"):
        field = model.model_fields.get(key)
        if field is not None and getattr(field.annotation, "__args__", None):
            return field.annotation.__args__[0]  # type: ignore[union-attr]
    return None
