"""Details of one run: state, loss curve, log and actions."""

from __future__ import annotations

import streamlit as st

from app import access, actions, layout, load, states
from app.escape import Markdown, sentence
from app.escape import markdown as escaped
from app.runs import curves, resources
from app.runs.logs import LINES, tail
from app.runs.words import ago, cause_words, clock, epochs, label, lasting, place, run_id
from app.runs.working import act
from study.jobs import Job, RunRow
from study.jobs.folder import JobFolder

LOG_PX, SHORT = 240, 8  # height of a log of more lines than these
NOTES = {
    "failed": "A diverged run is a result: it counts in the failure rate and is not repeated.",
    "collapsed": "A collapsed run is a result: it counts in the failure rate and is not repeated.",
    "unknown": "The process is alive but has not sent a heartbeat for a minute.",
}


def show(row: RunRow, state: str, job: Job | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        st.subheader(escaped(run_id(row)), anchor=False, width="content")
        states.chip(state, escaped(label(row, state)))
        _buttons(row, state, job)
    if row.cause:
        st.markdown(sentence(cause_words(row, state)))
    if state in NOTES:
        st.caption(NOTES[state])
    left, right = st.columns([3, 2], gap="medium")
    with left:
        curves.one(row)
        resources.by_epoch(row)
    with right:
        _facts(row, state, job)
    _log(row, job)


def _facts(row: RunRow, state: str, job: Job | None) -> None:
    facts = {
        "epoch": epochs(row),
        "left": lasting(row.eta_s),
        "heartbeat": f"{ago(row.heartbeat)} ({clock(row.heartbeat)})" if row.heartbeat else "–",
        "started": clock(row.started),
        "ended": clock(row.ended),
        "validation loss": "–" if row.val_loss is None else f"{row.val_loss:.4g}",
        "folder": "none yet" if row.folder is None else _inside(str(row.folder)),
    }
    facts |= resources.facts(row)
    if job is not None:
        facts |= {"job": f"{job.id}, {job.state}", "place": place(job) or "local"}
    if job is not None and job.note:
        facts["waits for"] = job.note
    lines = [f"|{escaped(key)}|{escaped(value)}|" for key, value in facts.items()]
    st.markdown("\n".join(["|run||", "|:--|:--|", *lines]))


def _inside(path: str) -> str:
    """A path relative to the checkout."""
    return path.removeprefix(f"{load.ROOT.resolve()}/")


def _buttons(row: RunRow, state: str, job: Job | None) -> None:
    if job is not None and job.state in ("failed", "cancelled"):
        _button("Retry", "retry", actions.retry, job.id)
    elif state == "stopped" and (job is None or job.over):
        _button("Resume", "resume-run", actions.start, row.arm)
    elif state == "not started":
        _button("Start", "start-run", actions.start, row.arm)
    layout.link("new_arm", "Clone", **{"from": row.arm})
    layout.link("compare", "Compare", arms=row.arm)


def _button(label: Markdown, key: str, what, word: str) -> None:
    if not access.read_only():
        st.button(label, key=key, icon=":material/replay:", on_click=act, args=(what, word))


def _log(row: RunRow, job: Job | None) -> None:
    texts = {"run": "" if row.folder is None else tail(row.folder / "log.txt")}
    if job is not None:
        texts["job"] = tail(JobFolder(load.ROOT).job_log(job.id))
    shown = {name: text for name, text in texts.items() if text}
    if not shown:
        st.caption("The log was not stored with the run." if row.ended else "No log yet.")
        return
    for name, text in shown.items():
        count = text.count("\n") + 1
        st.markdown(
            f"Log of the {escaped(name)}" + (f", last {LINES} lines" if count >= LINES else "")
        )
        with st.container(key=f"log-{name}"):  # app/browser.js scrolls to the end
            height = LOG_PX if count > SHORT else "content"
            st.code(text, language=None, height=height, wrap_lines=True)
