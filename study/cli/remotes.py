"""study pull, push, publish and study remote: moving artifacts between clones."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path()
Names = Annotated[
    list[str] | None, typer.Argument(help="Arms, studies/ARM, data or imported/NAME (default: all)")
]
All = Annotated[bool, typer.Option("--all", help="Include studies/ and full/")]
RemoteName = Annotated[
    str | None, typer.Option(help="Name of the remote (default: the default remote)")
]
StatusFile = Annotated[
    Path | None, typer.Option(help="Write the progress to this file", hidden=True)
]
app = typer.Typer(help="Configure the remotes that store artifacts.", no_args_is_help=True)


def register(main: typer.Typer) -> None:
    for command in (pull, push, publish):
        main.command()(command)


def pull(
    names: Names = None,
    everything: All = False,
    remote: RemoteName = None,
    status: StatusFile = None,
) -> None:
    """Download artifacts from a remote: one arm or all."""
    from study.artifacts.remote import NoRemote, Wanted
    from study.artifacts.remote import pull as bring

    try:
        _print(bring(Wanted(ROOT, tuple(names or ()), everything, remote), status))
    except NoRemote as error:
        print(f"no remote to pull from: {error}")


def push(
    names: Names = None,
    everything: All = False,
    remote: RemoteName = None,
    again: Annotated[
        bool, typer.Option(help="Replace objects that the remote already has")
    ] = False,
) -> None:
    """Upload artifacts that a remote does not have."""
    from study.artifacts.remote import Wanted
    from study.artifacts.remote import push as send

    _print(send(Wanted(ROOT, tuple(names or ()), everything, remote), again))


def publish(everything: All = False, remote: RemoteName = None) -> None:
    """Push artifacts and write PUBLISHED.md for colleagues.

    PUBLISHED.md lists what a colleague needs to fetch and check the results.
    """
    from study.artifacts.publish import publish as give

    _print(give(ROOT, everything, remote))


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Name of the new remote")],
    url: Annotated[
        str, typer.Argument(help="s3://BUCKET/PATH, ssh://HOST/PATH, webdavs://..., PATH")
    ],
    endpoint: Annotated[
        str | None, typer.Option(help="Address of an S3 server other than AWS")
    ] = None,
    private: Annotated[
        bool, typer.Option(help="Store it in this clone only, not in the committed file")
    ] = False,
) -> None:
    """Add a remote, check it and make it the default."""
    from study.artifacts.remotes import add_remote

    _print(add_remote(ROOT, name, url, endpoint, private))


@app.command("key")
def key(
    name: str,
    user: Annotated[str | None, typer.Option("--id", help="Key id (S3) or user name")] = None,
    file: Annotated[Path | None, typer.Option(help="Private key file (ssh)")] = None,
) -> None:
    """Store the key of a remote in this clone (never committed)."""
    from study.artifacts.remotes import store_key

    secret = None if file else _secret()
    _print(store_key(ROOT, name, user, secret, file))


@app.command("list")
def show() -> None:
    """List the configured remotes; the default is marked."""
    from study.artifacts.remotes import remote_lines

    _print(remote_lines(ROOT))


@app.command("check")
def check(
    name: Annotated[
        str | None, typer.Argument(help="Name of the remote (default: the default remote)")
    ] = None,
) -> None:
    """Write, read and remove a small object on a remote."""
    from study.artifacts.remote import check as round_trip

    print(round_trip(ROOT, name))


def _secret() -> str:
    if sys.stdin.isatty():
        return typer.prompt("Secret", hide_input=True)
    return sys.stdin.readline().strip()


def _print(lines: list[str]) -> None:
    print("\n".join(lines))
