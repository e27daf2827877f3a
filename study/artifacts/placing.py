"""Place a pulled output in the checkout, after checking what DVC would place and where."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from study.artifacts.listings import BrokenListing, UnsafeListing, md5, read_listing
from study.artifacts.transport import Incomplete, Refused, Remote
from study.reading import real_path
from study.runs import environment
from study.runs.collect import collecting
from study.runs.temporary import replace_folder, restore_folder, sweep, temporary_folder

DVC_TEMPORARY = re.compile(r"\.[\w-]{22}\.tmp")


UNSAVED = "{where} has files that are not stored anywhere; move it away, then pull again"


def list_output(remote: Remote, output: Mapping[str, Any]) -> dict[str, str]:
    """object id -> path inside the checkout, for the files of an output whose listing is in the
    cache.

    Raises Incomplete for a listing that cannot be used.
    """
    where = output["where"]
    if not output["md5"].endswith(".dir"):
        return {output["md5"]: where}
    try:
        found = read_listing(remote.cached(output["md5"]))
    except (UnsafeListing, BrokenListing) as error:
        raise Incomplete({where: f"{where} was refused: {error}"}) from None
    return {oid: f"{where}/{relpath}" for relpath, oid in found.items()}


def check_place(
    remote: Remote, output: Mapping[str, Any], outputs: Sequence[Mapping[str, Any]]
) -> None:
    """Compare what DVC would place for the address of an output with what has been checked.

    A stage can have several outputs, and a .dvc file a `wdir` or a path of its own. Raises
    Incomplete if DVC would place anything that is not among `outputs`, or at a path that git
    tracks.
    """
    top = Path(remote.repo.root_dir)
    expected = {(item["where"], item["md5"]): item for item in outputs}
    for stage in remote.repo.stage.collect(output["address"]):
        for out in stage.outs:
            if not out.use_cache or not out.hash_info:
                continue
            inside = Path(out.fs_path).is_relative_to(top)
            where = Path(out.fs_path).relative_to(top).as_posix() if inside else out.fs_path
            item = expected.get((where, str(out.hash_info.value)))
            if item is None or out.hash_name != "md5":
                raise Incomplete(
                    {
                        output[
                            "where"
                        ]: f"{output['where']} was refused: {output['address']} would "
                        f"also place {where}, which is not recorded as a stored output"
                    }
                )
            if remote.cached(item["md5"]).is_file():
                list_output(remote, item)
            check_untracked(top, where)


def check_untracked(top: Path, where: str) -> None:
    """Raise Incomplete if git tracks the path of an output, or a link on the way to it. Stored
    outputs are never in git; a pull would replace a tracked path by content from the remote.
    """
    path = top / where
    links = [one for one in (path, *path.parents) if one.is_relative_to(top) and one.is_symlink()]
    tracked = [
        one
        for one in (*links, *([] if links else [path]))
        if environment.git("ls-files", "--", one.relative_to(top).as_posix(), root=top)
    ]
    turned = [one for one in links if real_path(one).is_relative_to(top)]
    if tracked or turned:
        found = (tracked or turned)[0].relative_to(top)
        raise Incomplete(
            {
                where: f"{where} was refused: {found} is "
                + ("tracked by git" if tracked else "a link to another place of this checkout")
                + "; stored outputs must not be tracked by git"
            }
        )


def place(remote: Remote, output: Mapping[str, Any]) -> None:
    """Put an output whose objects are all in the cache into the checkout. Raises Incomplete,
    Refused."""
    from dvc.exceptions import CheckoutError, DvcException
    from dvc.lock import LockError
    from dvc.repo import lock_repo

    repo, where = remote.repo, output["where"]
    folder = Path(repo.root_dir) / where
    target = real_path(folder)
    # The supervisor and `dvc repro` collect runs/ARM under this lock.
    runs = collecting(folder) if folder.parent.name == "runs" else contextlib.nullcontext()
    repo.drop_data_index()
    try:
        with runs, lock_repo(repo):
            if output["md5"].endswith(".dir"):
                place_folder(remote, output, target)
            # There is nothing left to place for a folder, but DVC records its state.
            repo.checkout(targets=[output["address"]], force=False)
    except LockError:
        raise Refused(
            "another dvc command is running in this checkout; try again when it has ended"
        ) from None
    except CheckoutError:
        raise Incomplete({where: f"{where} could not be placed"}) from None
    except DvcException as error:
        if "without confirmation" not in str(error):
            raise
        raise Incomplete({where: UNSAVED.format(where=where)}) from None


def place_folder(remote: Remote, output: Mapping[str, Any], target: Path) -> None:
    """Build the folder beside its target, then exchange the two. DVC itself writes file by file:
    after a kill, the files it leaves look like files of the user, and the next pull refuses to
    replace them. Raises Incomplete, DVC's errors.
    """
    from dvc_data.hashfile.checkout import checkout
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    repo, cache = remote.repo, remote.repo.cache.local
    sweep(target.parent)
    restore_folder(target)
    wanted = read_listing(remote.cached(output["md5"]))
    here = hashes(repo, target)
    if here == wanted:
        return
    if any(not remote.cached(found).is_file() for found in here.values()):
        raise Incomplete({output["where"]: UNSAVED.format(where=output["where"])})
    target.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(target) as building:
        content = Tree.load(cache, HashInfo("md5", output["md5"]))
        checkout(str(building), repo.fs, content, cache, force=True, quiet=True)
        replace_folder(building, target)
    for relpath, value in wanted.items():  # so that DVC need not hash the files again
        repo.state.save(str(target / relpath), repo.fs, HashInfo("md5", value))


def hashes(repo: Any, folder: Path) -> dict[str, str]:
    """path inside -> md5 of the files in a folder, without half-copied files of a killed DVC."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        if (path.is_dir() and not path.is_symlink()) or DVC_TEMPORARY.fullmatch(path.name):
            continue
        _, known = repo.state.get(str(path), repo.fs)
        name = path.relative_to(folder).as_posix()
        found[name] = known.value if known and known.name == "md5" else md5(path)
    return found
