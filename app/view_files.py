"""Saved views: addresses with a name, one small JSON file each in views/, shared through git.

    views/NAME.json   {"page": "arms", "query": {"study": ["full"], "sort": ["-amp_ssim"]}}

A view holds what the address holds, so that it stays right when results change.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from study.reading import quoted, read_mapping
from study.runs import write_json
from study.runs.links import refuse_links
from study.settings import UserError, check_name

FOLDER = "views"
MOST = 50
Text = Annotated[str, Field(max_length=400)]


class View(BaseModel):
    """One file. `query`: the keys of the address, each with its values."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    page: Annotated[str, Field(pattern=r"^[a-z_]{1,30}$")]
    query: Annotated[
        dict[Annotated[str, Field(max_length=60)], Annotated[list[Text], Field(max_length=50)]],
        Field(max_length=50),
    ]


def read_view(file: Path) -> View:
    """Raises UserError for a file that is not a view."""
    return _checked(
        read_mapping(file),
        f"{file} is not a saved view",
        "page, and query with a list of texts for every key. Correct the file or delete it",
    )


def write_view(root: Path, name: str, page: str, query: Mapping[str, list[str]]) -> None:
    """Raises UserError for an invalid name, one that is taken, an address that is too long to be
    kept, and too many views."""
    file = root / FOLDER / f"{check_name(name)}.json"
    view = _checked(
        {"page": page, "query": dict(query)},
        "this address cannot be saved",
        "up to 50 keys with up to 50 texts each, of up to 400 characters. Choose less on the page",
    )
    if file.exists():
        raise UserError(f"a view {name} exists already; choose another name, or delete it first")
    if len(files(root)) >= MOST:
        raise UserError(f"{FOLDER}/ holds {MOST} views, the most that are listed; delete some")
    write_json(file, view.model_dump())


def _checked(content: Any, subject: str, accepted: str) -> View:
    try:
        return View.model_validate(content)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise UserError(
            f"{subject}: {quoted(where) if where else 'its content'} is wrong; accepted: {accepted}"
        ) from None


def delete_view(root: Path, name: str) -> None:
    """Raises UserError for an invalid name, and for a folder that is a link out of the checkout."""
    file = root / FOLDER / f"{check_name(name)}.json"
    refuse_links(file.parent)
    file.unlink(missing_ok=True)


def files(root: Path) -> list[Path]:
    return sorted((root / FOLDER).glob("*.json"))[:MOST]
