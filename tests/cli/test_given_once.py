"""Every command of the command line refuses a repeated option that takes one value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from typer.core import TyperOption
from typer.main import get_command

from study import cli
from study.settings import UserError


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """(words after `study`, command) of every command that is not a group."""
    if not hasattr(command, "commands"):
        yield " ".join(path), command
        return
    for name, inner in command.commands.items():
        yield from leaves(inner, (*path, name))


COMMANDS = dict(leaves(get_command(cli.app)))
TAKING_ONE = [
    (words, option)
    for words, command in COMMANDS.items()
    for option in command.params
    if isinstance(option, TyperOption) and not (option.multiple or option.is_flag)
]


def test_the_commands_of_every_group_are_walked() -> None:
    groups = {words.split()[0] for words in COMMANDS if " " in words}
    assert {"arms", "remote", "trace", "regimes"} <= groups
    assert {"trace replay", "regimes run"} <= {words for words, _ in TAKING_ONE}
    assert len(TAKING_ONE) > 60


@pytest.mark.parametrize(
    ("words", "option"), TAKING_ONE, ids=[f"{words} {one.opts[0]}" for words, one in TAKING_ONE]
)
def test_an_option_that_takes_one_value_is_given_once(words: str, option: TyperOption) -> None:
    given = [option.opts[0], *["1"] * option.nargs]
    with pytest.raises(UserError, match=r"was given 2 times, .* takes it once"):
        COMMANDS[words].make_context(f"study {words}", given * 2)
