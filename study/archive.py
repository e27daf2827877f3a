"""Taking an arm out of the study, or giving it another name: nothing that was found is lost.

    archived/<arm>/             in git, read by nobody but people
        arm.yaml                the arm's block and the claims that named it, as they stood
        seeds/, history.csv     its results, moved from results/<arm>/

A claim is fixed before its runs and names its arms. When an arm goes, the claims that name it leave
claims.yaml with it, and the next findings list them, with all their verdicts, under `superseded`.
A new name is a new arm to every claim: the same happens, and the block stays under its new name.
Claims of the checkout on FOLDER/<arm> stand in another folder's file; they are taken out by hand
first, or they would name an arm that is not there.
Weights stay under runs/<arm>/ and in the DVC cache; runs found again under their hash cost nothing.

Each step leaves a checkout that works: the copy first, then the claims, the arm, the results.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.comments import CommentedMap

from study import arms
from study.claiming import CLAIMS, PARAMS, appended
from study.evidence.claims import Claim, parse_claims
from study.outputs import place
from study.params import Study, UserError, check_name, find_row, parse_study
from study.runs import write_text


@dataclass(frozen=True)
class Archived:
    """Where the arm went, and the claims that went with it."""

    folder: Path
    claims: tuple[str, ...]


def archive_arm(root: Path, name: str) -> Archived:
    """Take arm `name` out of the pipeline folder `root`, as the module says.

    The caller makes sure that it does not run. Raises UserError, and changes nothing, for an
    unknown arm, one that others are compared with, and one that a question, a regime or a claim of
    the checkout names.
    """
    params = root / PARAMS
    with arms.lock(params):
        text, document = arms.read(params)
        study = parse_study(_plain(text), str(params))
        find_row(study, name)
        _refuse_needed(study, name)
        _refuse_claimed(root, name)
        shorter = _without(text.split("\n"), document["arms"], name, _after(document))
        parse_study(_plain(shorter), str(params))
        return _move(root, name, shorter)


def rename_arm(root: Path, old: str, new: str) -> Archived:
    """Give an arm another name, wherever params.yaml names it; its past goes to the archive.

    Raises UserError, and changes nothing, for an unknown arm, one that a claim of the checkout
    names, and a name that is taken or none.
    """
    params = root / PARAMS
    with arms.lock(params):
        text, document = arms.read(params)
        study = parse_study(_plain(text), str(params))
        find_row(study, old)
        if check_name(new) in study.arms:
            raise UserError(f"arm {new!r} exists already; choose another name")
        _refuse_claimed(root, old)
        renamed = _renamed(text, document, old, new)
        after = parse_study(_plain(renamed), str(params))
        if old in after.arms or list(after.arms) != [new if n == old else n for n in study.arms]:
            raise UserError(f"{params} names {old!r} in a way that cannot be followed; edit it")
        return _move(root, old, renamed)


# --- the files --------------------------------------------------------------------------------


def _move(root: Path, name: str, params: str) -> Archived:
    folder = _free(root / "archived", name)
    claims_file = root / CLAIMS
    text = claims_file.read_text() if claims_file.is_file() else "claims: {}\n"
    gone = _claims_on(text, claims_file, name)
    write_text(folder / "arm.yaml", _record(root, name, gone, text))
    if gone:
        lines, document = text.split("\n"), YAML().load(text)
        for claim in reversed(gone):
            lines = _without(lines, document["claims"], claim.id, None).split("\n")
        shorter = "\n".join(lines)
        shorter = shorter if _plain(shorter)["claims"] else _emptied(shorter)
        parse_claims(_plain(shorter), claims_file)
        write_text(claims_file, shorter)
    write_text(root / PARAMS, params)
    results = root / "results" / name
    for item in sorted(results.iterdir()) if results.is_dir() else ():
        item.rename(folder / item.name)
    if results.is_dir():
        results.rmdir()
    return Archived(folder, tuple(claim.id for claim in gone))


def _free(archived: Path, name: str) -> Path:
    names = [name, *(f"{name}.{count}" for count in range(2, 1000))]
    return next(archived / free for free in names if not (archived / free).exists())


def _claims_on(text: str, file: Path, name: str) -> list[Claim]:
    """The claims that name the arm, in the order of the file."""

    def named(claim: Claim) -> Iterable[str]:
        for pair in (claim.arms, claim.second_object):
            yield from (pair.treatment, pair.control) if pair else ()

    return [c for c in parse_claims(_plain(text), file).claims if name in named(c)]


def _record(root: Path, name: str, gone: list[Claim], text: str) -> str:
    """The arm's block as it stood, and its claims in the style of claims.yaml."""
    block = arms.copied(arms.read(root / PARAMS)[1]["arms"][name])
    claims = {claim.id: _plain(text)["claims"][claim.id] for claim in gone}
    told = appended("claims:\n", claims) if claims else "claims: {}\n"
    return "\n".join(["arms:", *(f"  {line}" for line in arms.dumped({name: block})), "", told])


# --- the text ---------------------------------------------------------------------------------


def _plain(text: str) -> Any:
    """The file as data. Raises UserError when it is no YAML, without an anchor that went, say."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        sentence = " ".join(str(error).split())
        raise UserError(f"without that arm the file is no valid YAML: {sentence}") from None


def _after(document: CommentedMap) -> int | None:
    """Line of the section that follows the arms."""
    keys = list(document)
    later = keys[keys.index("arms") + 1 :]
    return document.lc.key(later[0])[0] if later else None


def _without(lines: list[str], section: CommentedMap, name: str, after: int | None) -> str:
    """The text without one block of a section; what stands above the next block belongs to it."""
    if section.fa.flow_style():
        raise UserError(f"{name!r} stands in a mapping on one line; edit the file by hand")
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


def _renamed(text: str, document: CommentedMap, old: str, new: str) -> str:
    """The text with every place that names the arm, and no other, changed."""
    lines = text.split("\n")
    for line, column in sorted(_places(document, old), reverse=True):
        rest = lines[line][column:]
        if not re.match(rf"{old}\b", rest):
            raise UserError(f"line {line + 1} names {old!r} in an unusual way; edit it by hand")
        lines[line] = lines[line][:column] + new + rest[len(old) :]
    return "\n".join(lines)


def _places(document: CommentedMap, old: str) -> Iterable[tuple[int, int]]:
    """(line, column) of every name of the arm: its key, `versus`, questions and regimes."""
    yield tuple(document["arms"].lc.key(old))
    for row in document["arms"].values():
        if row.get("versus") == old and "versus" in (row.lc.data or {}):
            yield tuple(row.lc.value("versus"))
    for question in (document.get("studies") or {}).values():
        for i, arm in enumerate(question["arms"]):
            if arm == old:
                yield tuple(question["arms"].lc.item(i))
    for cell in (document.get("regimes") or {}).get("cells", ()):
        for role in ("control", "better"):
            if cell[role] == old:
                yield tuple(cell.lc.value(role))


def _refuse_needed(study: Study, name: str) -> None:
    """Raise UserError with who needs the arm."""
    needing = [other for other, row in study.arms.items() if row.versus == name]
    if needing:
        raise UserError(
            f"{', '.join(needing)} {'are' if needing[1:] else 'is'} compared with {name!r}; "
            "archive first what is compared with it"
        )
    asked = [q for q, question in study.studies.items() if name in question.arms]
    if asked:
        raise UserError(f"studies.{asked[0]} names {name!r}; take it out of that question first")
    cells = study.regimes.cells if study.regimes else ()
    if any(name in (cell.control, cell.better) for cell in cells):
        raise UserError(f"a cell of regimes names {name!r}; take it out of that cell first")


def _refuse_claimed(root: Path, name: str) -> None:
    """Raise UserError with the claims of the checkout on this arm of a folder below it."""
    top, pipeline = place(root)
    file = top / CLAIMS
    if not pipeline or not file.is_file():
        return
    gone = _claims_on(file.read_text(), file, f"{pipeline}/{name}")
    if gone:
        raise UserError(
            f"../{CLAIMS} names '{pipeline}/{name}' in {', '.join(claim.id for claim in gone)}; "
            "take that out of it first (the findings keep the verdicts, as superseded)"
        )
