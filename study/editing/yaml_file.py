"""params.yaml and claims.yaml as files: read with lines and comments, edited by lines, written
under one lock. `study.editing.arms` and `study.editing.claiming` decide what a block contains.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import BaseFileLock
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from study.reading import parse_yaml, read_text, read_yaml_text, real_path
from study.runs import environment, write_text
from study.runs.links import lock_at
from study.settings import UserError

# Fields that describe an arm: written even if another arm has the same values.
ALWAYS_WRITTEN = ("asks", "versus", "changes")


def lock(params_file: Path) -> BaseFileLock:
    """Lock that must be held to rewrite params.yaml or claims.yaml."""
    return lock_at(Path(f"{write_target(params_file)}.lock"))


def write_target(file: Path) -> Path:
    """The file that a write to `file` replaces: for a symbolic link, its target.

    Raises UserError for a link that leads out of the checkout or to nothing.
    """
    if not file.is_symlink():
        return file
    real, top = real_path(file), environment.checkout(file.parent).resolve()
    if not real.is_file() or not real.is_relative_to(top):
        raise UserError(
            f"{file} is a symbolic link to {file.readlink()}, which is not a file of this "
            "checkout; replace it with the file, or link to a file inside"
        )
    return real


def write_changed(file: Path, text: str) -> None:
    """Write params.yaml, claims.yaml or a record of them, unless the content is the same. The
    caller holds `lock`; unfinished files of killed writers are removed.
    """
    target = write_target(file)
    for left in target.parent.glob(f".{target.name}.*.tmp"):
        left.unlink(missing_ok=True)
    if not target.is_file() or read_text(target) != text:
        write_text(target, text)


def read(file: Path) -> tuple[str, CommentedMap]:
    """A params.yaml as text and as a document with line numbers. Raises UserError."""
    if not file.is_file():
        raise UserError(f"{file} does not exist; run inside a pipeline folder of Armature")
    text = read_yaml_text(file)
    return text, loaded(text, file)


def loaded(text: str, file: Path) -> CommentedMap:
    """The text of a params.yaml as a document with line numbers. Raises UserError."""
    document = parse_yaml(text, file, typ="rt")
    if not isinstance(document, CommentedMap):
        raise UserError(f"{file} has no settings; run inside a pipeline folder of Armature")
    return document


def inserted(text: str, document: CommentedMap, name: str, block: Mapping[str, Any]) -> str:
    """The file with the new block after the last arm: other lines are unchanged."""
    lines = text.rstrip("\n").split("\n")
    keys = list(document)
    after = keys[keys.index("arms") + 1 :]
    end = document.lc.key(after[0])[0] if after else len(lines)
    while end > 0 and re.match(r"#|\s*$", lines[end - 1]):  # they belong to the next block
        end -= 1
    new = ["", *(f"  {line}" for line in _written(document["arms"], name, block))]
    return "\n".join([*lines[:end], *new, *lines[end:]]) + "\n"


def anchored(arms: Mapping[str, Any]) -> tuple[str, str] | None:
    """The arm whose settings others merge, and its anchor: `control: &control`."""
    for name, block in arms.items():
        if isinstance(block, CommentedMap) and block.anchor.value is not None:
            return name, block.anchor.value
    return None


def _written(arms: Mapping[str, Any], name: str, block: Mapping[str, Any]) -> list[str]:
    """Lines of a new arm: `<<: *control` and what differs from it, or every setting. Merging is
    shallow: a group such as `clip` is written in full.
    """
    found = anchored(arms)
    shared = arms[found[0]] if found else {}
    if not found or not block.keys() >= shared.keys():
        return dumped({name: block})
    own = {
        key: value
        for key, value in block.items()
        if key in ALWAYS_WRITTEN
        or key not in shared
        or plain_nodes(shared[key]) != plain_nodes(value)
    }
    head, *rest = dumped({name: own})
    return [head, f"  <<: *{found[1]}", *rest]


def dumped(block: Mapping[str, Any], width: int = 92) -> list[str]:
    """Lines of a block in the style of the file: `null` spelled out, short lists on one line."""
    yaml = YAML()
    yaml.width = width
    yaml.representer.add_representer(
        type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    stream = io.StringIO()
    yaml.dump(dict(block), stream)
    return [line.rstrip() for line in stream.getvalue().rstrip("\n").split("\n")]


def plain_nodes(node: Any) -> Any:
    """Round-trip YAML nodes as plain dicts and lists."""
    if isinstance(node, Mapping):
        return {str(key): plain_nodes(value) for key, value in node.items()}
    return [plain_nodes(item) for item in node] if isinstance(node, list) else node


def copied(node: Any) -> Any:
    """A deep copy that keeps flow style but leaves the comments with the original."""
    if isinstance(node, Mapping):
        twin = CommentedMap({key: copied(value) for key, value in node.items()})
        flow = isinstance(node, CommentedMap) and node.fa.flow_style()
        twin.fa.set_flow_style() if flow else twin.fa.set_block_style()
        return twin
    return flow_list(node) if isinstance(node, (list, tuple)) else node


def flow_list(items: Sequence[Any]) -> CommentedSeq:
    """A list that is written on one line."""
    listed = CommentedSeq(items)
    listed.fa.set_flow_style()
    return listed
