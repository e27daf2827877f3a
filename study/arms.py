"""Adding an arm: one block in params.yaml, written like the others, all or nothing.

The command line and the app call the same function. Comments and order of the file are kept
(ruamel round trip); the whole file is validated before anything is written.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from study.params import Row, Scalar, Study, UserError, check_name, diff, leaves, nearest
from study.params import parse_study as parse
from study.runs import write_text

# The limits at which the published study used each rule; taken when a rule is named without one.
USUAL_LIMIT = {"none": None, "norm": 1.0, "value": 1.0, "agc": 0.01, "agc_tensor": 0.01}
# Which fields a named section keeps when its name changes, and what a new field starts from.
FIRST_VALUES: Mapping[str, Mapping[str, Scalar]] = {
    "adamw": {"weight_decay": 0.01},
    "sgd": {"momentum": 0.9},
    "warmup_cosine": {"warmup_epochs": 1, "final_ratio": 0.01},
    "exponential": {"gamma": 0.95},
    "plateau": {"factor": 0.5, "patience": 3},
    "stable_hybrid": {"layerscale_init": 0.001},
}
OWN_FIELDS = frozenset(field for values in FIRST_VALUES.values() for field in values)


def new_arm(
    params_file: Path, name: str, base: str, settings: Sequence[str], asks: str | None = None
) -> Row:
    """Add arm `name`: `base` with `settings` ("section.field=value") changed. Returns the new row.

    Raises UserError, and writes nothing, for names that exist or are no names, unknown fields,
    values of the wrong type, and changes that change nothing.
    """
    check_name(name)
    with FileLock(f"{params_file}.lock"):
        text = _read(params_file)
        document = YAML().load(text)
        study = parse(_plain(document), str(params_file))
        if name in study.arms:
            raise UserError(f"arm {name!r} exists already; choose another name")
        if base not in study.arms:
            raise UserError(f"no arm {base!r} to start from{nearest(base, study.arms)}")
        block = _changed_block(document["arms"][base], study.arms[base], settings)
        row = _described(block, name, base, study, asks)
        longer = _inserted(text, document, name, block)
        parse(YAML(typ="safe", pure=True).load(longer), str(params_file))
        write_text(params_file, longer)
    return row


def _read(file: Path) -> str:
    if not file.is_file():
        raise UserError(f"{file} does not exist; run inside a pipeline folder of Armature")
    return file.read_text()


def _inserted(text: str, document: CommentedMap, name: str, block: CommentedMap) -> str:
    """The file with the new block after the last arm: every other line stays as it is."""
    lines = text.rstrip("\n").split("\n")
    keys = list(document)
    after = keys[keys.index("arms") + 1 :]
    end = document.lc.key(after[0])[0] if after else len(lines)
    new = ["", *(f"  {line}" for line in _dumped({name: block}))]
    return "\n".join([*lines[:end], *new, *lines[end:]]) + "\n"


def _dumped(block: Mapping[str, Any]) -> list[str]:
    """Lines of a block in the style of the file: `null` spelled out, short lists on one line."""
    yaml = YAML()
    yaml.width = 92
    yaml.representer.add_representer(
        type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    stream = io.StringIO()
    yaml.dump(dict(block), stream)
    return stream.getvalue().rstrip("\n").split("\n")


def _plain(node: Any) -> Any:
    """Round-trip YAML nodes as plain dicts and lists."""
    if isinstance(node, Mapping):
        return {str(key): _plain(value) for key, value in node.items()}
    return [_plain(item) for item in node] if isinstance(node, list) else node


def _changed_block(base: CommentedMap, row: Row, settings: Sequence[str]) -> CommentedMap:
    block = _copy(base)
    known = leaves(row)
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator:
            raise UserError(f"--set takes section.field=value; got {setting!r}")
        path = _full_name(key.strip(), known)
        *sections, field = path.split(".")
        target = block
        for section in sections:
            target = target[section]
        target[field] = YAML(typ="safe", pure=True).load(text)
        _follow_name(block, path, target)
    return block


def _copy(node: Any) -> Any:
    """A deep copy that keeps flow style but leaves the comments with the original."""
    if isinstance(node, CommentedMap):
        copied = CommentedMap({key: _copy(value) for key, value in node.items()})
        copied.fa.set_flow_style() if node.fa.flow_style() else copied.fa.set_block_style()
        return copied
    return _flow(node) if isinstance(node, list) else node


def _flow(items: Sequence[Any]) -> CommentedSeq:
    listed = CommentedSeq(items)
    listed.fa.set_flow_style()
    return listed


def _full_name(key: str, known: Mapping[str, Any]) -> str:
    """`clip.algorithm` means `clip.gradient_clip_algorithm` when that is the only such field."""
    section, _, field = key.rpartition(".")
    if key in known or field in OWN_FIELDS:
        return key
    endings = [
        name for name in known if name.startswith(f"{section}.") and name.endswith(f"_{field}")
    ]
    if len(endings) == 1 and section:
        return endings[0]
    raise UserError(f"unknown field {key!r}{nearest(key, known)}")


def _follow_name(block: CommentedMap, path: str, target: CommentedMap) -> None:
    """A new rule or name brings its own fields, at their usual values, and drops the old ones."""
    value = target[path.rsplit(".", 1)[-1]]
    if path == "clip.gradient_clip_algorithm" and value in USUAL_LIMIT:
        block["clip"]["gradient_clip_val"] = USUAL_LIMIT[value]
        if value == "none":
            block["clip"]["exclude_head"] = False
    elif path.endswith(".name"):
        own = FIRST_VALUES.get(str(value), {})
        for field in [field for field in target if field in OWN_FIELDS and field not in own]:
            del target[field]
        for field, first in own.items():
            target.setdefault(field, first)


def _described(block: CommentedMap, name: str, base: str, study: Study, asks: str | None) -> Row:
    """Fill in asks, versus and changes from the difference itself."""
    trial = parse(
        {
            "data": {k: v.model_dump() for k, v in study.data.items()},
            "arms": {name: {**_plain(block), "versus": None}},
        },
        "new arm",
    )
    changes = diff(study.arms[base], trial.arms[name])
    if not changes:
        raise UserError(f"arm {name!r} would equal {base!r}; change a field with --set")
    block["asks"] = (
        asks
        or "What does "
        + ", ".join(f"{key} = {new}" for key, (_, new) in changes.items())
        + f" change against {base}?"
    )
    block["versus"] = base
    block["changes"] = _flow(sorted(changes))
    return trial.arms[name].model_copy(
        update={"asks": block["asks"], "versus": base, "changes": tuple(sorted(changes))}
    )
