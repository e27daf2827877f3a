"""Group options of a command that belong together into one object."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Any, get_type_hints


def grouped(kind: type, parameter: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator of a typer command: the fields of the dataclass `kind` become its options, and the
    function receives them as one object, its argument `parameter`.

        @app.command()
        @grouped(ClaimOptions, "claim")
        def new(name: Name, claim: ClaimOptions) -> None: ...
    """
    hints = get_type_hints(kind, include_extras=True)
    options = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in fields(kind)
    ]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def command(**given: Any) -> Any:
            gathered = kind(**{option.name: given.pop(option.name) for option in options})
            return function(**given, **{parameter: gathered})

        found: list[inspect.Parameter] = []
        for own in inspect.signature(function, eval_str=True).parameters.values():
            found += options if own.name == parameter else [own]
        del command.__wrapped__  # typer would follow it to the function's own parameters
        command.__signature__ = inspect.Signature(found)  # pyright: ignore[reportAttributeAccessIssue]
        command.__annotations__ = {one.name: one.annotation for one in found}
        return command

    return decorate
