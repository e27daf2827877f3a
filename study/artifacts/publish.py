"""`study publish`: artifacts on a shared remote, and a page that explains how to use them.

PUBLISHED.md is a file of the repository, because a colleague clones the repository first. It is
written only after everything that it lists is on the remote.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from study.artifacts import remotes
from study.artifacts.outputs import Output, place
from study.artifacts.remote import Wanted, push
from study.artifacts.store import NAME as EMBEDDED
from study.evidence.format import inline, table
from study.runs import environment, write_text
from study.settings import UserError

PAGE = "PUBLISHED.md"


def publish(root: Path, everything: bool, remote: str | None) -> list[str]:
    """Push, then write PUBLISHED.md. Returns lines for the user, the last one with what to commit.
    Raises UserError, and writes nothing, if a colleague's clone could not use it: uncommitted
    changes, a remote known only to this machine, or missing artifacts.
    """
    top, pipeline = place(root)
    commit = _committed(top)
    name, url = _reachable(top, remote)
    wanted = Wanted(root, everything=everything, remote=name)
    lines = push(wanted)
    nowhere = [line for line in lines if line.endswith("nor does the remote")]
    if nowhere:
        raise UserError(
            "\n".join(["nothing was published, because artifacts are missing:", *nowhere])
        )
    outputs = [item for item in wanted.outputs() if item.push]
    write_text(top / PAGE, page(top, pipeline, commit, (name, url), outputs))
    return [*lines, *_after(top, url)]


def page(
    top: Path,
    pipeline: str,
    commit: tuple[str, str],
    remote: tuple[str, str],
    outputs: list[Output],
) -> str:
    """The text of PUBLISHED.md; equal for equal commit and remote."""
    name, url = remote
    size = sum(item.size for item in outputs)
    return "\n".join(
        [
            "# Published results",
            "",
            inline(
                f"Commit `{commit[0]}` of {commit[1]}: {len(outputs)} outputs, "
                f"{size / 1e6:.1f} MB, on the remote `{name}` ({url})."
            ),
            "",
            "```sh",
            *_commands(top, pipeline, name, outputs),
            "```",
            "",
            *_access(name, url),
            table(
                ["output", "files", "MB", "hash"],
                [[o.name, str(o.files), f"{o.size / 1e6:.1f}", f"`{o.md5}`"] for o in outputs],
            ),
            "",
        ]
    )


def _commands(top: Path, pipeline: str, name: str, outputs: list[Output]) -> list[str]:
    """Commands for a colleague, with explanations."""
    origin = remotes.without_password(
        (environment.git("remote", "get-url", "origin", root=top) or "").strip()
    )
    clone = shlex.quote(origin) if "://" in origin or "@" in origin else "ADDRESS"
    default = remotes.committed_default(top) == name
    option = "" if default else f" --remote {shlex.quote(name)}"
    whole = " --all" if len({o.pipeline for o in outputs}) > 1 else ""
    arm = next((o.name for o in outputs if "train@" in o.address), outputs[0].name)
    folder = f" && cd {shlex.quote(pipeline)}" if pipeline else ""
    text = [
        (f"git clone {clone} study", ""),
        (f"cd study && make setup && . .venv/bin/activate{folder}", ""),
        ("study results", "the recorded numbers: in git, nothing is pulled"),
        (f"study pull {shlex.quote(arm)}{option}", "one arm"),
        ("dvc repro --allow-missing", "runs nothing"),
        (f"study pull{whole}{option}", "everything"),
        ("dvc repro", "runs nothing; `study verify` checks the numbers"),
    ]
    return [f"{command:<36}# {message}" if message else command for command, message in text]


def _access(name: str, url: str) -> list[str]:
    if "://" not in url:
        return [inline(f"The remote is a folder: pulling needs read access to {url}."), ""]
    return [
        f"If it needs a key: `study remote key {inline(shlex.quote(name))} --id NAME` (ssh: "
        "`--file KEY`). `study remote check` tests reading and writing.",
        "",
    ]


def _committed(top: Path) -> tuple[str, str]:
    """(commit, its date). Raises UserError if a clone would differ from this checkout."""
    commit = environment.git("rev-parse", "HEAD", root=top)
    changes = environment.git("status", "--porcelain", "--untracked-files=no", root=top)
    if commit is None or changes is None:
        raise UserError("publishing needs a git repository with a commit")
    changed = [line[3:] for line in changes.splitlines() if line[3:] != PAGE]
    if changed:
        shown = ", ".join(changed[:5]) + (" ..." if changed[5:] else "")
        raise UserError(f"commit your changes first; others get only committed files: {shown}")
    date = environment.git("show", "-s", "--format=%cs", "HEAD", root=top) or ""
    return commit.strip(), date.strip()


def _reachable(top: Path, remote: str | None) -> tuple[str, str]:
    """(name, address) of a remote that is known to a clone on another machine. Raises UserError."""
    name = remote or remotes.default_remote(top)
    if name is None or name == EMBEDDED:
        raise UserError(
            "the only remote here is the embedded folder of this machine, which no colleague "
            "reaches. Add one that others reach: study remote add NAME s3://BUCKET/PATH (or "
            "ssh://, webdavs://, a shared folder), commit .dvc/config, then publish"
        )
    url = remotes.committed_url(top, name)
    if url is None:
        raise UserError(
            f"remote {name!r} is configured in this clone only; a colleague's clone reads the "
            f"committed .dvc/config. Add it there: study remote add {name} URL, then commit"
        )
    return name, url


def _after(top: Path, url: str) -> list[str]:
    lines = [f"written: {PAGE}; next: git add {PAGE} && git commit -m 'Publish' && git push"]
    if environment.git("remote", root=top) in (None, ""):
        lines.append("this repository has no git remote yet, which colleagues need to clone it")
    if "://" not in url:
        lines.append(f"pulling needs read access to the folder {url}")
    return lines
