"""Listings of the DVC cache (`.dir` objects): which file of a stored folder has which hash.

The hash of a listing is in dvc.lock and its content on a remote, so anyone who changes both chooses
the paths in it. DVC joins these paths to the folder of the output without checks:
`../../study/cli/arms.py` would replace code. Every listing is therefore checked before it enters
the cache and before it is used, and the whole cache is checked before DVC runs a command that may
place outputs:

    python -m study.artifacts.listings repro train@control  # check, then `dvc repro train@control`
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from pathlib import Path
from typing import Any, NoReturn

from study.artifacts.store import read_config
from study.reading import DEEPEST, UserError, is_inside, read_bytes

# An entry takes 60 to 200 bytes, so this allows at least 80,000 files. A hostile list of empty
# lists takes 25 times its size in memory, 400 MB.
LARGEST_BYTES = 2**24
MD5 = re.compile(r"[0-9a-f]{32}")
# A repository inside a data folder: git runs its hooks and fsmonitor once somebody works there.
TOOLS = (".git", ".dvc")
LONGEST_NAME = 255  # bytes, the limit of common file systems


class UnsafeListing(UserError):
    """A listing with a path outside its folder."""


class BrokenListing(UserError):
    """Content that is not a listing of ours, without unsafe paths; DVC may still use it."""


def read_listing(file: Path) -> dict[str, str]:
    """relpath -> md5 of the files in a listing.

    Raises UnsafeListing for a path that could lead out of the folder, whatever else the listing
    contains, BrokenListing for other content that is not a listing, OSError.
    """
    try:
        # DVC opens it as text in the encoding of the system: bytes that are not UTF-8 become
        # characters that no path may have.
        entries = json.loads(read_bytes(file, LARGEST_BYTES).decode(errors="surrogateescape"))
    except UserError as error:
        raise UnsafeListing(f"{_named(file)} is refused: {error}") from None
    except (ValueError, RecursionError):
        raise BrokenListing(f"{_named(file)} is not a listing: it is not JSON") from None
    if not isinstance(entries, list):
        raise BrokenListing(f"{_named(file)} is not a listing: it is not a list")
    for entry in entries:
        _check_safe(file, entry)
    found: dict[str, str] = {}
    folders: set[str] = set()
    for entry in entries:
        relpath, md5 = _entry(file, entry)
        if relpath in found:
            raise UnsafeListing(f"{_named(file)} names {relpath!r:.100} twice")
        found[relpath] = md5
        parts = relpath.split("/")
        folders |= {"/".join(parts[:end]) for end in range(1, len(parts))}
    both = next((name for name in folders if name in found), None)
    if both is not None:
        raise UnsafeListing(f"{_named(file)} names {both!r:.100} as a file and as a folder")
    return found


def _entry(file: Path, entry: Any) -> tuple[str, str]:
    known = entry if isinstance(entry, dict) else {}
    relpath, md5 = known.get("relpath"), known.get("md5")
    if not isinstance(relpath, str) or not isinstance(md5, str) or len(known) != 2:
        raise BrokenListing(
            f"{_named(file)} is not a listing: an entry has something else than relpath and md5"
        )
    return relpath, md5


def _check_safe(file: Path, entry: Any) -> None:
    """Raise UnsafeListing for an unsafe path or hash. DVC uses an entry that has further keys, or
    no hash, so the path is checked whatever else the entry has.
    """
    known = entry if isinstance(entry, dict) else {}
    relpath, md5 = known.get("relpath"), known.get("md5")
    # The hash becomes part of a path too: on the remote, in the cache and in the folder for
    # downloads.
    if isinstance(md5, str) and not MD5.fullmatch(md5):
        raise UnsafeListing(f"{_named(file)} names the object {md5!r:.100}, which is not an md5")
    if not isinstance(relpath, str):
        return
    if not is_inside(relpath):
        raise UnsafeListing(
            f"{_named(file)} names {relpath!r:.100}, which may point outside its folder. Accepted: "
            "relative paths without `..`, empty parts, backslashes or control characters. Somebody "
            "changed this listing; do not use the commit or remote that it came from"
        )
    parts = relpath.split("/")
    own = next((part for part in parts if part.casefold() in TOOLS), None)
    if own is not None:
        raise UnsafeListing(
            f"{_named(file)} names {relpath!r:.100}: {own} is a folder of settings; git and DVC "
            "run the commands in it. No output of a study has one; do not use the commit or "
            "remote that it came from"
        )
    if len(parts) > DEEPEST or any(len(part.encode()) > LONGEST_NAME for part in parts):
        raise UnsafeListing(
            f"{_named(file)} names {relpath!r:.100}; accepted: up to {DEEPEST} folders, names of "
            f"up to {LONGEST_NAME} bytes"
        )


def _named(file: Path) -> str:
    return f"the listing {file.parent.name}{file.name}" if len(file.parent.name) == 2 else file.name


# --- the cache --------------------------------------------------------------------------------


def cache_folder(top: Path) -> Path:
    """The folder of this checkout's cache, which the DVC setting cache.dir can change.

    Raises UserError for a DVC configuration that cannot be read.
    """
    from dvc.config import ConfigError

    try:
        given = read_config(top)["cache"].get("dir")
    except ConfigError as error:
        raise UserError(f"{top / '.dvc'}: the configuration cannot be read ({error})") from None
    return Path(top, given or ".dvc/cache") / "files" / "md5"


def check_cached(root: Path) -> None:
    """Raise UserError if the cache of a checkout contains an unsafe listing. `dvc checkout` and
    `dvc repro` place files from the cache, also from its record of earlier runs.
    """
    top = top_of(root.resolve())
    if top is None:
        return
    cache = cache_folder(top)
    # Before DVC 3 the objects were one level higher, and DVC still reads them there.
    for folder in (cache, cache.parent.parent):
        for file in folder.glob("??/*.dir"):
            try:
                read_listing(file)
            except UnsafeListing as error:
                raise UserError(f"{error}. Remove it from the cache: rm -f {file}") from None
            except (BrokenListing, OSError):
                continue  # without unsafe paths; `study verify --cache` reports it


def top_of(folder: Path) -> Path | None:
    """The folder above (or equal to) `folder` that DVC works in."""
    folders = (folder, *folder.parents)
    return next((one for one in folders if (one / ".dvc").is_dir()), None)


def main() -> NoReturn:
    """Check the cached listings, then run the DVC command in this process; 2 if a listing is
    refused."""
    try:
        check_cached(Path())
    except UserError as error:
        print(f"study: {error}", file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None
    command = (sys.executable, "-m", "dvc", *sys.argv[1:])
    os.execv(sys.executable, command)  # noqa: S606  (not a shell)


if __name__ == "__main__":
    main()


CHUNK = 1 << 20


def md5(file: Path) -> str:
    found = hashlib.md5(usedforsecurity=False)
    with file.open("rb") as stream:
        while block := stream.read(CHUNK):
            found.update(block)
    return found.hexdigest()
