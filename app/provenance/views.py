"""The sections of the page: graph, arms of a stage, commits and environments, this installation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import streamlit as st

from app import choose, escape, load, states
from app.provenance import drawing, environments, machine, pipeline
from app.provenance.state import STATES, Judged
from study.runs import environment

INK = {"light": "#1b2129", "dark": "#e3e6ea"}  # text colours as in .streamlit/config.toml
TITLES = {"": "root"}  # other pipelines are named after their folder


def size_text(size: int) -> str:
    units = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
    return next((f"{size / one:.1f} {name}" for one, name in units if size >= one), f"{size} bytes")


# --- the pipeline -----------------------------------------------------------------------------


def graph(found: Mapping[str, Judged], chosen: str | None) -> None:
    """Draw the pipeline, with the chosen stage kind highlighted."""
    reads = pipeline.kinds([judged.stage for judged in found.values()])
    boxes = [drawing.Box(kind, counts(found, kind), reads[kind]) for kind in reads]
    message = "; ".join(f"{box.kind}: {_words(box.counts)}" for box in boxes)
    ink = INK[st.context.theme.type or "light"]
    st.html(drawing.page(boxes, chosen, f"Pipeline from left to right. {message}.", ink))


def counts(found: Mapping[str, Judged], kind: str) -> dict[str, int]:
    """Number of stages of this kind per state."""
    counted = Counter(j.state for j in found.values() if j.stage.kind == kind)
    return {state: counted[state] for state in STATES if counted[state]}


def _words(counted: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counted.items())


def totals(found: Mapping[str, Judged], contents: bool) -> None:
    """Show the number of stages per state, and how they were compared."""
    counted = Counter(j.state for j in found.values())
    with st.container(horizontal=True, gap="small"):
        for state in STATES:
            if counted[state]:
                states.chip(state, f"{counted[state]:d} {MEANING[state][0]}", MEANING[state][1])
    heavy = sum(j.size for j in found.values() if not j.absent and _cached(j))
    how = (
        "All files are compared by content (md5)."
        if contents
        else "Code, settings and results are compared by content; runs and data sets "
        f"({escape.markdown(size_text(heavy))} here) by size and number of files."
    )
    st.caption(f"Compared with dvc.lock. {how}")


MEANING = {
    "fresh": ("fresh", "Inputs, settings and outputs match the record."),
    "stale": ("stale", "An input, a setting or the command changed: `dvc repro` runs it again."),
    "not pulled": ("not pulled", "Recorded, but its outputs are not in this checkout."),
    "missing": ("missing", "Never run, or an output tracked by git was deleted."),
}


def _cached(judged: Judged) -> bool:
    return any(out.cached for out in judged.stage.outs)


def stage_table(found: Mapping[str, Judged], kind: str, folder: str) -> None:
    """Show the stages of a kind with state, reason and the command that brings each up to date."""
    rows = [j for j in found.values() if j.stage.kind == kind]
    if len(rows) == 1:
        _one_stage(rows[0], folder)
        return
    table = [
        {
            "arm": j.stage.key,
            "state": f"{drawing.MARKS[j.state][0]} {j.state}",
            "why": "; ".join(j.reasons) or _note(j),
            "recorded": size_text(j.size) if j.size else "–",
            "command": _command(j, folder),
        }
        for j in sorted(rows, key=lambda j: -STATES.index(j.state))
    ]
    st.dataframe(
        table, hide_index=True, height="content" if len(table) < 14 else 460,
        alt=f"{len(table)} stages by arm: state, reason, size and command",
    )  # fmt: skip


def _one_stage(judged: Judged, folder: str) -> None:
    states.chip(judged.state)
    for reason in judged.reasons[:12]:
        st.text(f"· {reason}")
    note = _note(judged)
    if note:
        st.caption(escape.markdown(note))
    st.code(_command(judged, folder), language="sh")
    with st.expander("Inputs and outputs"):
        st.text("reads  " + ", ".join(judged.stage.deps))
        st.text("writes " + ", ".join(out.path for out in judged.stage.outs))


def _command(judged: Judged, folder: str) -> str:
    """The command that updates a stage: a pull if only outputs are missing, otherwise a repro."""
    if judged.state == "not pulled":
        return f"study pull {pull_name(judged, folder)}"
    inside = f"cd {folder} && " if folder else ""
    return f"{inside}dvc repro {judged.stage.name}"


def pull_name(judged: Judged, folder: str) -> str:
    """The name of a stage's output for `study pull`: the arm, or the path of its first output."""
    stage = judged.stage
    name = stage.key if stage.kind == "train" else stage.outs[0].path
    return f"{folder}/{name}" if folder else name


def _note(judged: Judged) -> str:
    parts = []
    if judged.behind:
        first = ", ".join(judged.behind[:3]) + (" and others" if len(judged.behind) > 3 else "")
        parts.append(f"depends on stale stages: {first}")
    if judged.not_here:
        parts.append(f"not pulled, assumed unchanged: {', '.join(judged.not_here[:3])}")
    kept = [out.path for out in judged.stage.outs if out.path in judged.absent and not out.pushed]
    if judged.state == "missing" and judged.absent:
        parts.append(f"missing: {', '.join(judged.absent)}")
    if judged.state == "fresh" and kept:
        parts.append(f"not stored, regenerated when needed: {', '.join(kept)}")
    return "; ".join(parts)


# --- runs -------------------------------------------------------------------------------------


def commits(runs: Sequence[environments.Run], known: environments.History) -> None:
    """Show which commit produced which results, and whether it is in this history."""
    found = environments.by_commit(runs)
    rows = [_commit_row(commit, made, known) for commit, made in found.items()]
    outside = [c for c in found if environments.standing(c, known)[0] == "differs"]
    if outside:
        count = sum(len(found[c]) for c in outside)
        st.warning(
            f"{count} of {len(runs)} results were computed with {len(outside)} commit(s) that are "
            "not in this history: their code cannot be checked out here."
        )
    st.dataframe(
        rows, hide_index=True, height="content" if len(rows) < 12 else 400,
        alt=f"{len(rows)} commits with the number of results computed with each",
    )  # fmt: skip


def _commit_row(
    commit: str | None, made: Sequence[environments.Run], known: environments.History
) -> dict[str, object]:
    state, words = environments.standing(commit, known)
    date, subject = known.commits.get(commit or "", ("–", "–"))
    dirty = sum(run.dirty is not False for run in made)
    return {
        "commit": commit[:12] if commit else "none",
        "date": date,
        "subject": subject,
        "results": len(made),
        "arms": len({run.arm for run in made}),
        "tree": "clean" if not dirty else f"{dirty} not clean",
        "is": f"{'✓' if state == 'ok' else '?' if state == 'unknown' else '≠'} {words}",
    }


def environments_of(runs: Sequence[environments.Run]) -> None:
    """Show the entries in which the environments of the runs agree and differ."""
    here = sum(run.facts is not None for run in runs)
    if not here:
        st.info(
            f"No environments are stored here for the {len(runs)} results: no file in provenance/ "
            "describes them. Results of earlier versions store their environment in runs/; get it "
            "with `study pull`."
        )
        return
    same, differing = environments.compared(runs)
    message = f"{here} of {len(runs)} environments are available"
    if differing:
        names = ", ".join(difference.what for difference in differing)
        st.warning(f"{message}. They differ in {escape.markdown(names)}.")
        rows = [
            {"what": d.what, "value": value, "runs": count}
            for d in differing
            for value, count in d.values
        ]
        st.dataframe(
            rows, hide_index=True, height="content" if len(rows) < 12 else 400,
            alt=f"Values in which environments differ: {names}",
        )  # fmt: skip
    else:
        st.markdown(f"{states.text('ok', 'equal')} {message} and identical.")
    st.dataframe(
        [{"what": key, "value": value} for key, value in same.items()],
        hide_index=True,
        height="content",
        alt=f"{len(same)} facts in which all environments agree",
    )


# --- this installation ------------------------------------------------------------------------


def git_state(known: environments.History) -> None:
    """Show the checked-out commit and uncommitted changes that affect runs."""
    if known.head is None:
        st.markdown(f"{states.text('unknown', 'no git')} Without git no finding is confirmatory.")
        return
    date, subject = known.commits[known.head]
    st.markdown(
        states.text("ok", escape.markdown(known.head[:12]))
        + escape.markdown(f" {date} · {subject} · branch {known.branch or '–'}")
    )
    dirty = environment.git("status", "--porcelain", "--", *environment.CLEAN_PATHS, root=load.ROOT)
    lines = (dirty or "").splitlines()
    if lines:
        names = ", ".join(line[3:] for line in lines[:8])
        more = f" and {len(lines) - 8} more" if len(lines) > 8 else ""
        st.markdown(
            f"{states.text('differs', 'changed')} Uncommitted changes; a run started now is marked "
            f"as not clean: {escape.markdown(names)}{more}"
        )
    else:
        st.markdown(
            f"{states.text('ok', 'clean')} Code, settings, claims and lock files are committed."
        )


def packages(found: machine.Packages | None) -> None:
    """Show the installed packages that differ from the lock file."""
    if found is None:
        st.markdown(f"{states.text('missing', 'no lock')} There is no requirements file.")
        return
    if found.differing:
        st.markdown(
            f"{states.text('differs', f'{len(found.differing)} differ')} "
            f"from {escape.markdown(found.file)}: run `make setup` to install the locked versions."
        )
        rows = [{"package": p, "locked": a, "installed": b} for p, a, b in found.differing]
        st.dataframe(rows, hide_index=True, alt=f"{len(rows)} packages, locked and installed")
    else:
        st.markdown(
            f"{states.text('ok', 'as locked')} {found.installed:d} packages of "
            f"{escape.markdown(found.file)} are installed in their locked versions."
        )
    if found.absent:
        names = ", ".join(found.absent[:8]) + (" …" if len(found.absent) > 8 else "")
        st.caption(escape.markdown(f"{len(found.absent)} not installed: {names}"))


def versions(runs: Sequence[environments.Run]) -> None:
    """Show the versions of the packages that affect numerical results, here and in the runs."""
    rows = []
    for name in environment.PACKAGES:
        used = Counter(run.facts[name] for run in runs if run.facts and name in run.facts)
        here = environment.version(name) or "not installed"
        message = ", ".join(f"{version} ({count})" for version, count in used.most_common())
        mark = "–" if not used else "✓" if set(used) == {here} else "≠"
        rows.append({"package": name, "here": here, "in the runs": message or "–", "same": mark})
    alt = "Versions of the packages that affect numerical results, here and in the runs"
    st.dataframe(rows, hide_index=True, height="content", alt=alt)


def chosen_kind(found: Mapping[str, Judged]) -> str | None:
    """The selected stage kind (`?stage=`); by default the kind with most stages not up to date."""
    kinds = list(dict.fromkeys(j.stage.kind for j in found.values()))
    worst = Counter(j.stage.kind for j in found.values() if j.state != "fresh")
    first = worst.most_common(1)[0][0] if worst else "train"
    return choose.one("Stage", kinds, "stage", default=first)
