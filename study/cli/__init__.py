"""The command line: thin doors, light to open (no torch until a command needs it)."""

from __future__ import annotations

import sys

import typer

from study.cli import arms, care, data, launch, regimes, remotes, report, results, runs, trace

app = typer.Typer(
    name="study",
    help="Armature: reproducible studies of neural ptychography.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (data, runs, launch, results, report, care, remotes):
    module.register(app)
app.add_typer(arms.app, name="arms")
app.add_typer(regimes.app, name="regimes")
app.add_typer(trace.app, name="trace")
app.add_typer(remotes.app, name="remote")


def main() -> None:
    """Entry point. A user's mistake is a sentence and exit code 2; Ctrl-C is exit code 130."""
    try:
        app()
    except Exception as error:
        from study.params import UserError

        if not isinstance(error, UserError):
            raise
        print(f"study: {error}", file=sys.stderr)
        raise SystemExit(2) from None
