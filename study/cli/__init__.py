"""The command line. Commands import what they use when they run, so that help needs no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from study import investigations
from study.cli import arms, care, data, launch, remotes, report, results, runs
from study.terminal import cleaned_output, plain_errors

# `study --help` lists the commands in this order; the others are those of investigations.
GROUPS: Mapping[str, Sequence[str]] = {
    "Study runs": ("train", "launch", "runs", "stop", "retry", "resume"),
    "Data": ("simulate", "import", "export", "limit"),
    "Reconstruction": ("reconstruct", "score", "diagnose"),
    "Evidence": ("evaluate", "findings", "results", "explain", "report", "record"),
    "Artifacts": ("pull", "push", "publish", "remote", "verify", "clean"),
    "Settings and environment": ("arms", "plan", "fingerprint", "doctor"),
}
OTHERS = "Investigations"


class GroupedCommands(TyperGroup):
    """A command group whose help has one section per purpose."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the sections of `GROUPS`, then the commands that no section names."""
        grouped = {name for names in GROUPS.values() for name in names}
        others = [name for name in self.list_commands(ctx) if name not in grouped]
        width = max(map(len, self.commands))
        for title, names in (*GROUPS.items(), (OTHERS, others)):
            rows = [(name.ljust(width), self._line(name)) for name in names]
            with formatter.section(title):
                formatter.write_dl(rows)

    def _line(self, name: str) -> str:
        command: Any = self.commands[name]
        return command.get_short_help_str(limit=LINE)


class OptionsGivenOnce(TyperCommand):
    """A command that refuses a repeated option, of which only the last value would count."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments. Raises UserError for a repeated option that takes one value."""
        _, _, given = self.make_parser(ctx).parse_args(list(args))
        for option, times in Counter(given).items():
            takes_one = isinstance(option, TyperOption) and not (option.multiple or option.is_flag)
            if takes_one and times > 1:
                from study.settings import UserError

                raise UserError(
                    f"{option.opts[0]} was given {times} times, and `{ctx.command_path}` takes it "
                    "once; give it once, or run the command once per value"
                )
        return super().parse_args(ctx, args)


def refuse_repeated_options(group: typer.Typer) -> None:
    """Make every command below `group` an `OptionsGivenOnce`."""
    for command in group.registered_commands:
        command.cls = OptionsGivenOnce
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            refuse_repeated_options(inner.typer_instance)


LINE = 63  # characters of a command's help that fit beside its name in 80 columns

app = typer.Typer(
    name="study",
    cls=GroupedCommands,
    help="Armature: reproducible studies of neural ptychography.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(arms.app, name="arms")
for module in (data, runs, launch, results, report, care, remotes, *investigations.parts("cli")):
    module.register(app)
app.add_typer(remotes.app, name="remote")
refuse_repeated_options(app)


@cleaned_output()
def main() -> None:
    """Entry point. User errors and errors of the operating system (full disk, read-only checkout)
    end with one sentence and exit code 2, Ctrl-C with exit code 130.
    """
    with plain_errors("study"):
        app()
