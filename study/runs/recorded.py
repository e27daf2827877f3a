"""The results of other pipelines that the findings use: <study>/recorded.json, in git.

    {"files": {"control/seeds/s1.json": {"sha256": ..., "size": bytes}, ...},
     "environments": [{"environment": {...}, "runs": {"control": [1, 2]}}]}

`study record` writes it. Files are named from <study>/results/; one that is not listed is not
read, and one that is listed and has other content is refused by name. `environments` holds commit,
machine and versions of results of earlier versions, which have no provenance/.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from study.reading import UserError, is_inside, quoted, read_bytes, read_mapping
from study.runs.folder import write_text
from study.runs.reread import Reread
from study.settings.errors import explain

FILE = "recorded.json"


class Stored(BaseModel):
    """Content of a file; `size` in bytes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size: int = Field(ge=0)


class Environments(BaseModel):
    """environment.json that these runs share: arm -> seeds."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    environment: dict[str, Any]
    runs: dict[str, list[int]]


class Recorded(BaseModel):
    """The content of recorded.json."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    files: dict[str, Stored]
    environments: list[Environments] = []

    def environment(self, arm: str, seed: int) -> Mapping[str, Any] | None:
        """environment.json of a run; None where none is kept here."""
        kept = (e.environment for e in self.environments if seed in e.runs.get(arm, ()))
        return next(kept, None)

    def under(self, folder: str) -> list[str]:
        """The listed files below a folder of results/."""
        return [name for name in self.files if name.startswith(f"{folder}/")]


def read_recorded(pipeline: Path) -> Recorded | None:
    """The record of a pipeline folder, or None. Raises UserError when the list
    is damaged or names files outside results/."""
    try:
        return _once(pipeline / FILE)
    except OSError:
        return None


def _read(file: Path) -> Recorded | None:
    content = read_mapping(file)
    try:
        found = None if content is None else Recorded.model_validate(content)
    except ValidationError as error:
        raise UserError(
            f"{file}: {explain(error, content, '', Recorded)}; restore it from git, "
            f"or write it with `study record {file.parent.name}`"
        ) from None
    outside = next((name for name in found.files if not is_inside(name)), None) if found else None
    if outside is not None:
        raise UserError(f"{file} names {quoted(outside)}, which is not a path below results/")
    return found


_once = Reread(_read)


def write_recorded(pipeline: Path, listed: Recorded) -> None:
    """Write it, one line per file."""
    files = [
        f"  {json.dumps(name)}: {json.dumps(stored.model_dump())}"
        for name, stored in sorted(listed.files.items())
    ]
    environments = [f"  {json.dumps(e.model_dump(), sort_keys=True)}" for e in listed.environments]
    parts = {"environments": _block(environments, "[]"), "files": _block(files, "{}")}
    lines = ",\n".join(f" {json.dumps(key)}: {text}" for key, text in parts.items())
    write_text(pipeline / FILE, f"{{\n{lines}\n}}\n")


def _block(lines: Sequence[str], brackets: str) -> str:
    text = ",\n".join(lines)
    return f"{brackets[0]}\n{text}\n {brackets[1]}" if lines else brackets


def stored(content: bytes) -> Stored:
    """The entry of recorded.json for a file with this content."""
    return Stored(sha256=hashlib.sha256(content).hexdigest(), size=len(content))


# --- results ----------------------------------------------------------------------------------


def results_of(root: Path, arm: str) -> Path:
    """Where the small results of an arm are, of `<study>/<arm>` in that pipeline's folder."""
    pipeline, _, name = arm.rpartition("/")
    return root / pipeline / "results" / name


def all_recorded(root: Path) -> dict[str, Recorded]:
    """The lists of the pipeline folders below `root`, by the name of the folder.

    Raises UserError as `read_recorded` does.
    """
    folders = [file.parent for file in sorted(root.glob(f"*/{FILE}"))]
    found = {folder.name: read_recorded(folder) for folder in folders}
    return {name: listed for name, listed in found.items() if listed is not None}


def recorded_files(root: Path, pattern: str) -> Iterator[Path]:
    """The recorded files whose name below results/ matches, in the order of names.

    Raises UserError for a file that differs from its record.
    """
    for pipeline, listed in all_recorded(root).items():
        for name in sorted(listed.files):
            if fnmatchcase(name, pattern):
                check(root / pipeline, name, listed)
                yield root / pipeline / "results" / name


def check(pipeline: Path, name: str, listed: Recorded | None = None) -> None:
    """Raise UserError unless results/`name` of a pipeline folder is as it was recorded; files that
    its list does not have, and folders without a list, are left alone."""
    listed = read_recorded(pipeline) if listed is None else listed
    wanted = listed.files.get(name) if listed else None
    file = pipeline / "results" / name
    if wanted is None:
        return
    try:
        content = read_bytes(file)
    except FileNotFoundError:
        found = "is missing"
    else:
        if (here := stored(content)) == wanted:
            return
        found = f"has sha256 {here.sha256[:12]}… and {here.size:,} bytes"
    raise UserError(
        f"{file} {found}; {pipeline / FILE} has it with {wanted.sha256[:12]}… and {wanted.size:,} "
        f"bytes. Restore it (`git checkout -- {file}`), or, if the pipeline computed it again, run "
        f"`study record {pipeline.name}`"
    )


def check_arm(root: Path, arm: str, name: str) -> None:
    """`check` of a file in the results of an arm: `<study>/<arm>`, or one of the root's."""
    pipeline, _, arm = arm.rpartition("/")
    if pipeline:
        check(root / pipeline, f"{arm}/{name}")


def forget(pipeline: Path, arm: str) -> None:
    """Take an arm that left the study out of the list of its pipeline folder."""
    listed = read_recorded(pipeline)
    if listed is None or not listed.under(arm):
        return
    gone = set(listed.under(arm))
    kept = [
        Environments(environment=e.environment, runs={a: s for a, s in e.runs.items() if a != arm})
        for e in listed.environments
    ]
    files = {name: stored for name, stored in listed.files.items() if name not in gone}
    write_recorded(pipeline, Recorded(files=files, environments=[e for e in kept if e.runs]))
