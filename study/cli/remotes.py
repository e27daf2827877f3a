"""study pull, push, publish and study remote: moving artifacts between clones."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path()
Names = Annotated[
    list[str] | None, typer.Argument(help="Arms, studies/ARM, data or imported/NAME; none: all")
]
All = Annotated[bool, typer.Option("--all", help="The root study, studies/ and full/")]
RemoteName = Annotated[str | None, typer.Option(help="Another remote than the default one")]
StatusFile = Annotated[
    Path | None, typer.Option(help="Keep the progress in this file", hidden=True)
]
app = typer.Typer(help="Remotes: where artifacts go and come from.", no_args_is_help=True)


def register(main: typer.Typer) -> None:
    for command in (pull, push, publish):
        main.command()(command)


def pull(
    names: Names = None,
    everything: All = False,
    remote: RemoteName = None,
    status: StatusFile = None,
) -> None:
    """Bring stored artifacts from a remote: one arm, this study, or all three."""
    from study.stages.remote import NoRemote, Wanted
    from study.stages.remote import pull as bring

    try:
        _print(bring(Wanted(ROOT, tuple(names or ()), everything, remote), status))
    except NoRemote as error:
        print(f"no remote to pull from: {error}")


def push(
    names: Names = None,
    everything: All = False,
    remote: RemoteName = None,
    again: Annotated[bool, typer.Option(help="Replace what the remote holds already")] = False,
) -> None:
    """Send stored artifacts to a remote: only what it lacks."""
    from study.stages.remote import Wanted
    from study.stages.remote import push as send

    _print(send(Wanted(ROOT, tuple(names or ()), everything, remote), again))


def publish(everything: All = False, remote: RemoteName = None) -> None:
    """Push, and write PUBLISHED.md: what a colleague needs to see and check these results."""
    from study.stages.publish import publish as give

    _print(give(ROOT, everything, remote))


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="What you call it")],
    url: Annotated[
        str, typer.Argument(help="s3://BUCKET/PATH, ssh://HOST/PATH, webdavs://..., PATH")
    ],
    endpoint: Annotated[
        str | None, typer.Option(help="Address of an S3 server other than AWS")
    ] = None,
    private: Annotated[
        bool, typer.Option(help="Only in this clone, not in the committed file")
    ] = False,
) -> None:
    """Add a remote, verified and the default, for everyone who clones this repository."""
    from study.stages.remotes import add_remote

    _print(add_remote(ROOT, name, url, endpoint, private))


@app.command("key")
def key(
    name: str,
    user: Annotated[str | None, typer.Option("--id", help="Key id (S3) or user name")] = None,
    file: Annotated[Path | None, typer.Option(help="Private key file (ssh)")] = None,
) -> None:
    """Store the key of a remote in this clone alone (.dvc/config.local, never committed)."""
    from study.stages.remotes import store_key

    secret = None if file else _secret()
    _print(store_key(ROOT, name, user, secret, file))


@app.command("list")
def show() -> None:
    """The configured remotes, the default one marked."""
    from study.stages.remotes import remote_lines

    _print(remote_lines(ROOT))


@app.command("check")
def check(
    name: Annotated[str | None, typer.Argument(help="A remote; none: the default")] = None,
) -> None:
    """Store a small object, read it back, compare and remove it."""
    from study.stages.remote import check as round_trip

    print(round_trip(ROOT, name))


def _secret() -> str:
    if sys.stdin.isatty():
        return typer.prompt("Secret", hide_input=True)
    return sys.stdin.readline().strip()


def _print(lines: list[str]) -> None:
    print("\n".join(lines))
