"""Add seeds to an arm: its `seeds` line in params.yaml changes, other arms do not.

    fresh_seeds         the next seeds that an arm could have
    uncommitted_seeds   those that an interrupted command wrote and did not commit
    more_seeds          writes seeds to params.yaml

Existing runs keep their results: a run is identified by its settings, data and seed. If a command
was killed, or git refused its commit, the same command again completes it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import count, islice
from pathlib import Path

from ruamel.yaml.comments import CommentedMap

from study.editing import yaml_file
from study.editing.committing import commit, committed_text, unclean
from study.evidence.registered import claims_on, registered_seeds
from study.reading import parse_yaml
from study.runs.environment import git
from study.settings import MOST_SEEDS, Arm, Row, Study, UserError, find_row, parse_study, seeds_text

PARAMS = "params.yaml"


def fresh_seeds(root: Path, study: Study, name: str, n: int) -> tuple[int, ...]:
    """The next `n` seeds of arm `name`: those of its data set if it lists seeds, else those derived
    from the claims (`study arms seeds`), else the numbers after its largest seed. Raises UserError
    for an arm without seeds, and if the data set has too few.
    """
    row = _network(study, name)
    held = study.data[row.data.removeprefix("data/")].seeds if _simulated(study, row) else None
    if held is not None:
        free = [seed for seed in held if seed not in row.seeds]
        if len(free) < n:
            raise UserError(
                f"{row.data} draws objects for {len(held)} seeds, of which {name} lacks "
                f"{len(free)}; {n} were asked for. Add seeds to the data set in params.yaml and "
                "simulate it first"
            )
        return tuple(free[:n])
    claims = claims_on(root, study.arms, row.data)
    drawn = (
        iter(registered_seeds(claims, row.data, min(MOST_SEEDS, len(row.seeds) + n)))
        if claims
        else count(max(row.seeds) + 1)
    )
    return tuple(islice((seed for seed in drawn if seed not in row.seeds), n))


def uncommitted_seeds(root: Path, name: str) -> tuple[int, ...]:
    """The seeds of arm `name` that params.yaml has and the last commit lacks; empty if other parts
    of the file were edited too, if the arm is new, and without git.
    """
    text, document = yaml_file.read(root / PARAMS)
    row = _network(parse_study(yaml_file.plain_nodes(document), str(root / PARAMS)), name)
    was = _committed(root)
    try:
        before = None if was is None else _network(_study_of(was, root), name)
        added = row.seeds[len(before.seeds) :] if before else ()
        return added if added and _extended(was or "", root, name, added) == text else ()
    except UserError:  # the last commit has no such arm, or an invalid file
        return ()


def more_seeds(root: Path, name: str, seeds: Sequence[int], commits: bool = False) -> str:
    """Append `seeds` to those of arm `name`; with `commits` also to git. Returns the short hash of
    the commit, or "". Seeds that are already the last ones of the arm are kept, and committed if
    they are not. Raises UserError for an arm without seeds, for seeds of which it has some, for
    other edits of the file that would be committed too, if params.yaml cannot be extended without
    other changes, and if git refuses the commit; the seeds then stay written, as the message
    states.
    """
    params = root / PARAMS
    with yaml_file.lock(params):
        text, document = yaml_file.read(params)
        row = _network(parse_study(yaml_file.plain_nodes(document), str(params)), name)
        there = bool(seeds) and row.seeds[-len(seeds) :] == tuple(seeds)
        twice = sorted(set(seeds) & set(row.seeds))
        if twice and not there:
            raise UserError(f"{name} has seeds {seeds_text(twice)} already; choose others")
        if commits:
            _refuse_edits(root, name, seeds if there else ())
        if not there:
            yaml_file.write_changed(params, _extended(text, root, name, seeds))
        return _commit(root, name, seeds) if commits else ""


def _commit(root: Path, name: str, seeds: Sequence[int]) -> str:
    """Commit params.yaml. Raises UserError that also says what is written."""
    file = os.path.relpath(yaml_file.write_target(root / PARAMS), root)
    try:
        return commit(root, [file], f"Add seeds {seeds_text(seeds)} to {name}"[:72])
    except UserError as error:
        raise UserError(
            f"{PARAMS} holds the seeds {seeds_text(seeds)} of {name} now, but this is not "
            f"committed: {error}. Then run the same command again, or `git commit {file}`"
        ) from None


def _committed(root: Path) -> str | None:
    """params.yaml in the last commit; None if absent, and without git."""
    return committed_text(root, os.path.relpath(yaml_file.write_target(root / PARAMS), root))


def _study_of(text: str, root: Path) -> Study:
    return parse_study(parse_yaml(text, root / PARAMS), str(root / PARAMS))


def _extended(text: str, root: Path, name: str, seeds: Sequence[int]) -> str:
    """`text`, a params.yaml, with `seeds` added to arm `name`. Raises UserError if other settings
    would change."""
    params = root / PARAMS
    document = yaml_file.loaded(text, params)
    study = parse_study(yaml_file.plain_nodes(document), str(params))
    row = _network(study, name)
    wanted = row.model_copy(update={"seeds": (*row.seeds, *seeds)})
    longer = _with_seeds(text, document, study, name, wanted)
    if _study_of(longer, root).arms != {**study.arms, name: wanted}:
        raise UserError(
            f"the seeds of {name} in {params} cannot be changed separately; edit them by hand"
        )
    return longer


def _network(study: Study, name: str) -> Arm:
    row = find_row(study, name)
    if not isinstance(row, Arm):
        raise UserError(f"{name} is not a network: it runs once per seed of its data set")
    return row


def _simulated(study: Study, row: Row) -> bool:
    room, _, name = row.data.partition("/")
    return room == "data" and name in study.data


def _refuse_edits(root: Path, name: str, seeds: Sequence[int]) -> None:
    """Raise UserError if params.yaml has uncommitted edits other than `seeds` of `name`: the whole
    file would be committed."""
    if git("rev-parse", "--git-dir", root=root) is None:
        raise UserError("this folder is not in a git repository, or git is not installed")
    file = os.path.relpath(yaml_file.write_target(root / PARAMS), root)
    if not {PARAMS, file} & {*(unclean(root) or ())}:
        return
    left = uncommitted_seeds(root, name)
    if left and left == tuple(seeds):
        return
    found = f"{PARAMS} has uncommitted changes"
    if left:
        written = seeds_text(left).replace(" ", "")
        raise UserError(
            f"{found}: the seeds {seeds_text(left)} of {name}; commit them first "
            f"(`study arms extend {name} --seeds {written} --commit`), or omit the commit"
        )
    raise UserError(f"{found}; commit them first, or omit the commit")


def _with_seeds(text: str, document: CommentedMap, study: Study, name: str, wanted: Arm) -> str:
    """The text with the new seeds of `name`; arms that merge its block keep their seeds."""
    arms = document["arms"]
    found = yaml_file.anchored(arms)
    lists = {name: wanted.seeds}
    if found and found[0] == name:
        taking = (other for other in arms if other != name and "seeds" not in _own(arms[other]))
        lists |= {other: study.arms[other].seeds for other in taking if _takes(arms[other])}
    lines = text.split("\n")
    for arm in sorted(lists, key=lambda arm: -arms.lc.key(arm)[0]):  # line numbers change
        block, line = arms[arm], f"seeds: [{', '.join(map(str, lists[arm]))}]"
        key = "seeds" if "seeds" in _own(block) else "changes"
        first, indent = block.lc.key(key)
        last = first + 1
        while last < len(lines) and _deeper(lines[last], indent):  # a list over several lines
            last += 1
        kept = [] if key == "seeds" else lines[first:last]
        lines[first:last] = [*kept, f"{' ' * indent}{line}"]
    return "\n".join(lines)


def _own(block: CommentedMap) -> set[str]:
    """Keys of a block without those merged by `<<`."""
    return {str(key) for key in block.lc.data if key != "<<"} if block.lc.data else set()


def _takes(block: CommentedMap) -> bool:
    """Whether a block merges settings from an anchored one."""
    return bool(block.merge)


def _deeper(line: str, indent: int) -> bool:
    return bool(line.strip()) and len(line) - len(line.lstrip()) > indent
