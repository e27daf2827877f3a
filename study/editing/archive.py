"""Remove an arm from the study, or rename it; its results and claims are kept.

    archived/<arm>/             in git, read by people only
        arm.yaml                the arm's block and the claims that named it, as they were;
                                `renamed`: the new name, if it got one
        seeds/, history.csv     its results, moved from results/<arm>/
        provenance/             how the results were computed, moved from provenance/<arm>/

A claim is fixed before its runs and names its arms. When an arm is archived, the claims that name
it are removed from claims.yaml too, and the next findings list them, with all their verdicts, under
`superseded`. A renamed arm is a new arm for every claim, so the same happens, but its block stays
in params.yaml under the new name. Claims of the root study on FOLDER/<arm> are in another file;
remove them by hand first, otherwise they would name a missing arm. Weights stay under runs/<arm>/
and in the DVC cache; runs with the same hash are used again.

Each step leaves a working checkout: first the copy, then the claims, the arm, the results. Until
the last step the folder is called archived/.<arm>. If the command is killed, repeating it finds
this folder and does the remaining steps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap

from study.artifacts.outputs import place
from study.editing import yaml_file
from study.editing.claiming import CLAIMS, PARAMS, appended
from study.evidence.claims import Claim, parse_claims
from study.reading import parse_yaml, read_yaml_text
from study.runs import provenance, recorded
from study.settings import Study, UserError, check_name, find_row, mentions, parse_study, read_yaml

RECORD = "arm.yaml"


@dataclass(frozen=True)
class Archived:
    """The archive folder of the arm, and the claims that were archived with it."""

    folder: Path
    claims: tuple[str, ...]


def archive_arm(root: Path, name: str) -> Archived:
    """Remove arm `name` from the pipeline folder `root`. The caller makes sure that it is not
    running. Raises UserError, and changes nothing, for an unknown arm, one that others are compared
    with, and one that a question, a section or a claim of the checkout names.
    """
    params = root / PARAMS
    with yaml_file.lock(params):
        text, document = yaml_file.read(params)
        study = parse_study(_plain(text), str(params))
        _refuse_links(root, name)
        if name not in study.arms and (begun := _begun(root, name)):
            if begun.to is not None:
                done = f"rename {name} {begun.to}"
                raise UserError(f"{name!r} was being renamed; `study arms {done}` completes it")
            return _settled(root, name, begun)
        find_row(study, name)
        if len(study.arms) == 1:
            raise UserError(f"{name!r} is the only arm of {params}; add another one first")
        _refuse_needed(study, name)
        _refuse_anchor(document["arms"], name)
        _refuse_claimed(root, name)
        shorter = _without(text.split("\n"), document["arms"], name, _after(document))
        parse_study(_plain(shorter), str(params))
        return _move(root, name, shorter, None)


def rename_arm(root: Path, old: str, new: str) -> Archived:
    """Rename an arm everywhere in params.yaml; its results go to the archive.

    Raises UserError, and changes nothing, for an unknown arm, one that a claim of the checkout
    names, and a new name that is taken or invalid.
    """
    params = root / PARAMS
    with yaml_file.lock(params):
        text, document = yaml_file.read(params)
        study = parse_study(_plain(text), str(params))
        _refuse_links(root, old)
        if old not in study.arms and (begun := _begun(root, old)):
            if begun.to != new or new not in study.arms:
                done = f"rename {old} {begun.to}" if begun.to else f"archive {old}"
                raise UserError(f"`study arms {done}` was interrupted; run it again to complete it")
            return _settled(root, old, begun)
        find_row(study, old)
        if check_name(new) in study.arms:
            raise UserError(f"arm {new!r} already exists; choose another name")
        _refuse_claimed(root, old)
        renamed = _renamed(text, study, document, old, new)
        after = parse_study(_plain(renamed), str(params))
        if old in after.arms or list(after.arms) != [new if n == old else n for n in study.arms]:
            raise UserError(f"{params} names {old!r} in an unsupported way; edit it")
        return _move(root, old, renamed, new)


# --- the files --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Begun:
    """Content of archived/.<arm>/arm.yaml: the arm's block, its claims by id, its new name."""

    block: Any
    claims: Mapping[str, Any]
    to: str | None


def _pending(root: Path, name: str) -> Path:
    return root / "archived" / f".{name}"


def _begun(root: Path, name: str) -> _Begun | None:
    """The record of an interrupted command, or None."""
    file = _pending(root, name) / RECORD
    if not file.is_file():
        return None
    record = read_yaml(file)
    try:
        return _Begun(record["arms"][name], record["claims"], record.get("renamed"))
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{file} is not the record of an arm; move {file.parent} away") from None


def _move(root: Path, name: str, params: str, to: str | None) -> Archived:
    """All steps; `params`: the new params.yaml, `to`: the arm's new name."""
    claims_file = root / CLAIMS
    text = read_yaml_text(claims_file) if claims_file.is_file() else "claims: {}\n"
    gone = _claims_on(text, claims_file, name)
    block = yaml_file.read(root / PARAMS)[1]["arms"][name]
    begun = _begun(root, name)
    if begun is not None and begun.block != _plain_block(name, block):
        # Interrupted, and the arm was edited since: keep what was removed then in a separate
        # folder.
        _settle(root, name)
        begun = None
    taken = dict(begun.claims) if begun else {}
    taken |= {claim.id: _plain(text)["claims"][claim.id] for claim in gone}
    yaml_file.write_changed(_pending(root, name) / RECORD, _record(name, block, taken, to))
    if gone:
        lines, document = text.split("\n"), parse_yaml(text, claims_file, typ="rt")
        for claim in reversed(gone):
            lines = _without(lines, document["claims"], claim.id, None).split("\n")
        shorter = "\n".join(lines)
        shorter = shorter if _plain(shorter)["claims"] else _emptied(shorter)
        parse_claims(_plain(shorter), claims_file)
        yaml_file.write_changed(claims_file, shorter)
    yaml_file.write_changed(root / PARAMS, params)
    return _settled(root, name, _Begun(block, taken, to))


def _settled(root: Path, name: str, begun: _Begun) -> Archived:
    """The last steps: move the results, then rename the folder."""
    results, kept = root / "results" / name, root / provenance.FOLDER / name
    moved = {item: item.name for item in (results.iterdir() if results.is_dir() else ())}
    moved |= {kept: provenance.FOLDER} if kept.is_dir() else {}
    for item, new in sorted(moved.items()):
        target = _pending(root, name) / new
        if target.exists():
            raise UserError(f"both {item} and {target} exist; remove one of them")
        item.rename(target)
    if results.is_dir():
        results.rmdir()
    recorded.forget(root, name)
    return Archived(_settle(root, name), tuple(begun.claims))


def _settle(root: Path, name: str) -> Path:
    """Give the folder of a completed or abandoned command its final name."""
    folder = _free(root / "archived", name)
    return _pending(root, name).rename(folder)


def _free(archived: Path, name: str) -> Path:
    names = [name, *(f"{name}.{count}" for count in range(2, 1000))]
    return next(archived / free for free in names if not (archived / free).exists())


def _claims_on(text: str, file: Path, name: str) -> list[Claim]:
    """The claims that name the arm, in the order of the file."""
    return [c for c in parse_claims(_plain(text), file).claims if name in c.arm_names]


def _record(name: str, block: Any, claims: Mapping[str, Any], to: str | None) -> str:
    """The arm's original block, and its claims in the style of claims.yaml."""
    lines = ["arms:", *(f"  {line}" for line in yaml_file.dumped({name: yaml_file.copied(block)}))]
    lines += ["", f"renamed: {to}"] if to is not None else []
    return "\n".join([*lines, "", appended("claims:\n", claims) if claims else "claims: {}\n"])


def _plain_block(name: str, block: Any) -> Any:
    """The block as it is read back from its record."""
    return _plain(_record(name, block, {}, None))["arms"][name]


# --- the text ---------------------------------------------------------------------------------


def _plain(text: str) -> Any:
    """The file as data. Raises UserError when it is not valid YAML, e.g. without an anchor."""
    return parse_yaml(text, "the file without that arm")


def _after(document: CommentedMap) -> int | None:
    """Line of the section that follows the arms."""
    keys = list(document)
    later = keys[keys.index("arms") + 1 :]
    return document.lc.key(later[0])[0] if later else None


def _without(lines: list[str], section: CommentedMap, name: str, after: int | None) -> str:
    """The text without one block of a section; comments above the next block belong to that one."""
    if section.fa.flow_style():
        raise UserError(f"{name!r} is in a mapping on one line; edit the file by hand")
    keys = list(section)
    start = section.lc.key(name)[0]
    following = keys[keys.index(name) + 1 :]
    end = section.lc.key(following[0])[0] if following else (after or len(lines))
    while end > start + 1 and re.match(r"\s*(#|$)", lines[end - 1]):
        end -= 1
    above = lines[start - 1] if start else ""
    if end < len(lines) and not lines[end].strip() and (not above.strip() or above[0] != " "):
        end += 1  # one blank line between two blocks, and none below the head of the section
    return "\n".join([*lines[:start], *lines[end:]]).rstrip("\n") + "\n"


def _emptied(text: str) -> str:
    return re.sub(r"(?m)^claims:\s*$", "claims: {}", text, count=1)


def _renamed(text: str, study: Study, document: CommentedMap, old: str, new: str) -> str:
    """The text with the arm renamed everywhere, and nothing else changed."""
    lines = text.split("\n")
    for line, column in sorted(_places(text, study, document, old), reverse=True):
        rest = lines[line][column:]
        if not re.match(rf"{old}\b", rest):
            raise UserError(f"line {line + 1} names {old!r} in an unusual way; edit it by hand")
        lines[line] = lines[line][:column] + new + rest[len(old) :]
    return "\n".join(lines)


def _places(text: str, study: Study, document: CommentedMap, old: str) -> Iterable[tuple[int, int]]:
    """(line, column) of every name of the arm: its key, anchor, `versus`, questions, sections."""
    yield tuple(document["arms"].lc.key(old))
    yield from _anchor_places(text, document["arms"], old)
    for row in document["arms"].values():
        if row.get("versus") == old and "versus" in (row.lc.data or {}):
            yield tuple(row.lc.value("versus"))
    for question in (document.get("studies") or {}).values():
        for i, arm in enumerate(question["arms"]):
            if arm == old:
                yield tuple(question["arms"].lc.item(i))
    for key, section in study.sections.items():
        for holder, name in mentions(document[key], section.arms, old):
            yield tuple(holder.lc.value(name))


def _anchor_places(text: str, section: CommentedMap, old: str) -> Iterable[tuple[int, int]]:
    """The anchor of the arm and its aliases, if they have the arm's name."""
    if yaml_file.anchored(section) != (old, old):
        return
    name = re.escape(old)
    shape = re.compile(rf"\s+(?:{name}:\s*&|<<:\s*\*)(?P<anchor>{name})\s*(#|$)")
    for number, line in enumerate(text.split("\n")):
        if number >= section.lc.line and (match := shape.match(line)):
            yield number, match.start("anchor")


def _refuse_anchor(section: CommentedMap, name: str) -> None:
    """Raise UserError with the arms that take settings from this one (`<<: *control`)."""
    found = yaml_file.anchored(section)
    if found is None or found[0] != name:
        return
    using = [other for other, block in section.items() if getattr(block, "merge", None)]
    if using:
        listed = ", ".join(using[:6]) + (f" and {len(using) - 6} more" if using[6:] else "")
        raise UserError(
            f"{listed} take settings from {name!r} (<<: *{found[1]}); archive them first, or write "
            "out their settings"
        )


def _refuse_needed(study: Study, name: str) -> None:
    """Raise UserError that names what needs the arm."""
    needing = [other for other, row in study.arms.items() if row.versus == name]
    if needing:
        raise UserError(
            f"{', '.join(needing)} {'are' if needing[1:] else 'is'} compared with {name!r}; "
            "archive first what is compared with it"
        )
    questions = [q for q, question in study.studies.items() if name in question.arms]
    if questions:
        raise UserError(f"studies.{questions[0]} names {name!r}; remove it there first")
    for key, section in study.sections.items():
        if any(mentions(section.model_dump(), section.arms, name)):
            raise UserError(f"{key} names {name!r}; remove it there first")


def _refuse_links(root: Path, name: str) -> None:
    """Raise UserError for a link among the files to move: it leads to files of another folder."""
    kept = root / provenance.FOLDER
    folders = (root / "results", kept, root / "archived")
    for path in (*folders, root / "results" / name, kept / name, _pending(root, name)):
        if path.is_symlink():
            raise UserError(
                f"{path} is a symbolic link to {path.readlink()}; nothing was changed. Replace it "
                "with a folder, or remove it"
            )


def _refuse_claimed(root: Path, name: str) -> None:
    """Raise UserError with the claims of the checkout on this arm of a folder below it."""
    top, pipeline = place(root)
    file = top / CLAIMS
    if not pipeline or not file.is_file():
        return
    gone = _claims_on(read_yaml_text(file), file, f"{pipeline}/{name}")
    if gone:
        raise UserError(
            f"../{CLAIMS} names '{pipeline}/{name}' in {', '.join(claim.id for claim in gone)}; "
            "remove that first (the findings keep the verdicts, as superseded)"
        )
