"""The report folder as a research object (RO-Crate): files, their inputs and their origin.

Inputs are copied to inputs/ with their sha256, so that the folder can be shared and verified on its
own. No author is named; the date is that of the newest run.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rocrate.model.contextentity import ContextEntity
from rocrate.rocrate import ROCrate

from study.reading import hash_of_file, is_inside, real_path
from study.report.gather import Inputs
from study.runs import read_json
from study.runs.environment import version
from study.runs.links import refuse_links

NAME = "ro-crate-metadata.json"
LICENCE = "https://spdx.org/licenses/BSD-3-Clause"
PACKAGES = ("armature", "numpy", "scipy", "pandas", "matplotlib", "jinja2", "rocrate")
TYPES = {
    ".html": "text/html",
    ".svg": "image/svg+xml",
    ".csv": "text/csv",
    ".json": "application/json",
    ".yaml": "application/yaml",
    ".lock": "text/plain",
    ".npz": "application/zip",
    ".cxi": "application/x-hdf5",
}


def versions() -> list[str]:
    """`name version` of the packages used to write the report."""
    return [f"{name} {found}" for name in PACKAGES if (found := version(name))]


def write_crate(inputs: Inputs, out: Path, title: str, results: Sequence[Path]) -> Path:
    """Copy the inputs to out/inputs and write the metadata file, whose path is returned."""
    sources = _copy(inputs, out / "inputs")
    crate = ROCrate()
    date, _ = inputs.newest
    crate.name = title
    crate.description = "A report, its figures with their numbers, and all inputs used to create it"
    licence = {"@type": "CreativeWork", "name": "BSD-3-Clause"}
    crate.license = crate.add(ContextEntity(crate, LICENCE, properties=licence))
    crate.datePublished = date if date != "–" else "unknown"
    made = _files(crate, out, results)
    read = _files(crate, out, sources)
    tools = [_tool(crate, text) for text in versions()]
    _action(crate, inputs, tools, read, made)
    (out / NAME).unlink(missing_ok=True)
    crate.metadata.write(out)
    return out / NAME


def remove_earlier(out: Path, title: str) -> None:
    """Remove the figures and inputs of an earlier report in `out`: files whose sha256 is that in
    its metadata. Other files in these folders are kept."""
    facts = read_json(out / NAME)
    entities = facts.get("@graph") if isinstance(facts, dict) else None
    entities = entities if isinstance(entities, list) else []
    listed = [one for one in entities if isinstance(one, dict)]
    if not any(one.get("@id") == "./" and one.get("name") == title for one in listed):
        return
    for one in listed:
        name = str(one.get("@id"))
        file = out / name
        ours = name.startswith(("figures/", "inputs/")) and is_inside(name)
        plain_file = file.is_file() and real_path(file) == real_path(out) / name
        if ours and plain_file and hash_of_file(file) == one.get("sha256"):
            file.unlink()


def _copy(inputs: Inputs, folder: Path) -> list[Path]:
    """Copy each file that was read to its relative path below `folder`."""
    copies = []
    for file in sorted(inputs.used):
        target = folder / file.relative_to(inputs.root)
        refuse_links(target.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)  # otherwise a link would be followed
        shutil.copyfile(file, target)
        copies.append(target)
    return copies


def _files(crate: ROCrate, out: Path, files: Iterable[Path]) -> list[Any]:
    """One entity per file, with hash, size and type."""
    return [
        crate.add_file(
            file,
            file.relative_to(out).as_posix(),
            properties={
                "sha256": hash_of_file(file),
                "contentSize": str(file.stat().st_size),
                "encodingFormat": TYPES.get(file.suffix, "application/octet-stream"),
            },
        )
        for file in files
    ]


def _tool(crate: ROCrate, text: str) -> Any:
    name, _, number = text.partition(" ")
    facts = {"@type": "SoftwareApplication", "name": name, "version": number}
    return crate.add(ContextEntity(crate, f"#{name}", properties=facts))


def _action(
    crate: ROCrate, inputs: Inputs, tools: Sequence[Any], read: Sequence[Any], made: Sequence[Any]
) -> None:
    """Add the action `study report` with its instrument, inputs, outputs and commit."""
    own = next((tool for tool in tools if tool["name"] == PACKAGES[0]), tools[0])
    digest = hashlib.sha256("".join(e["sha256"] for e in read).encode()).hexdigest()
    properties = {
        "name": "study report",
        "description": "study report: findings and stored artifacts to report.html",
        "actionStatus": {"@id": "http://schema.org/CompletedActionStatus"},
        "identifier": f"inputs sha256 {digest}",
    }
    if inputs.commit:
        own["softwareVersion"] = inputs.commit
    own["softwareRequirements"] = [tool for tool in tools if tool is not own]
    crate.add_action(
        instrument=own,
        identifier="#study-report",
        object=list(read),
        result=list(made),
        properties=properties,
    )
