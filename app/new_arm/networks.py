"""Queries that need torch, answered by one long-lived child process: the app never imports torch.

networks()   the options of all networks (`study arms fields`), once per state of the code
check()      the check of a draft (`study arms check NAME --from BASE --set ...`)

The process starts with the first query and answers one at a time. It ends after ten minutes
without a query, when the code changes, and with the app.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

import study
from app import load
from study.editing.arms import Draft
from study.runs import children
from study.settings import seeds_text

POLL_S = 0.05
IDLE_S = 600.0
CODE = Path(study.__file__).parent


class Asked:
    """One `study` command that prints a JSON object. Sessions may share it.

    `answer`: the object; None while pending or on failure. `refusal`: on failure, the message for
    the user or the last line of the error output. `dropped`: the answer is no longer needed.
    """

    def __init__(self, *words: str) -> None:
        self.words = words
        self.answer: Mapping[str, Any] | None = None
        self.refusal: str | None = None
        self.dropped = False
        self._done = threading.Event()

    @property
    def done(self) -> bool:
        return self._done.is_set()

    def settle(self, code: int, out: str, err: str) -> None:
        """Store the result of the command: exit code, stdout and stderr.

        Raises ValueError for an exit code of 0 without valid JSON.
        """
        lines = err.strip().splitlines() or ["no error output"]
        if code == 0:
            self.answer = json.loads(out)
        elif code == 2:
            self.refusal = lines[-1].removeprefix("study: ")
        else:
            name = " ".join(("study", *self.words[:2]))
            self.refusal = f"{name} ended with exit code {code}: {lines[-1]}"
        self._done.set()


class Checker:
    """The child process and the thread that serves it; any session may send queries."""

    def __init__(self) -> None:
        self._questions: queue.SimpleQueue[Asked | None] = queue.SimpleQueue()
        self._process: subprocess.Popen[str] | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (read if the process dies)
        threading.Thread(target=self._serve, name="checker", daemon=True).start()

    def ask(self, *words: str) -> Asked:
        """Queue the command `study WORDS...`; its answer arrives later."""
        asked = Asked(*words)
        self._questions.put(asked)
        return asked

    def close(self) -> None:
        """End the process after the queries that are already queued."""
        self._questions.put(None)

    def _serve(self) -> None:
        while True:
            try:
                asked = self._questions.get(timeout=IDLE_S if self._process else None)
            except queue.Empty:
                self._end()
                continue
            if asked is None:
                self._end()
                self._errors.close()
                return
            if not asked.dropped:
                try:
                    asked.settle(*self._answer(asked.words))
                except (OSError, ValueError, KeyError) as error:
                    self._end()
                    asked.settle(1, "", f"{type(error).__name__}: {error}")

    def _answer(self, words: Sequence[str]) -> tuple[int, str, str]:
        process = self._running()
        assert process.stdin is not None and process.stdout is not None
        process.stdin.writelines([json.dumps(words), "\n"])
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:  # it died
            self._process = None
            with process:  # closes its pipes
                code = process.wait()
            self._errors.seek(0)
            return code or 1, "", self._errors.read().decode(errors="replace")
        found = json.loads(line)
        return int(found["code"]), str(found["out"]), str(found["err"])

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._errors.seek(0)
            self._errors.truncate()
            self._process = children.start(
                (sys.executable, "-m", "study.cli.answers"), load.ROOT, subprocess.PIPE,
                err=self._errors, stdin=subprocess.PIPE, text=True, start_new_session=False,
            )  # fmt: skip
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with process:  # closes its pipes and waits
                process.kill()


def wait(asked: Asked) -> None:
    """Wait for an answer at the end of a page; a click in the meantime reruns the page."""
    while not asked.done:
        time.sleep(POLL_S)
        st.session_state.get("new-arm-check")  # lets Streamlit interrupt the script after a click


def _code() -> load.Stamp:
    """The state of the code that answers the queries."""
    return load.stamp(*CODE.rglob("*.py"))


def checker() -> Checker:
    """The child process for the current state of the code."""
    return _checker(_code())


@st.cache_resource(show_spinner=False, max_entries=1, on_release=Checker.close)
def _checker(key: load.Stamp) -> Checker:
    return Checker()


def networks() -> Asked:
    """The answer to `study arms fields`, queried once per state of the code."""
    return _networks(_code())


def ask_again() -> None:
    """Discard a failed answer, so that the next page queries again."""
    _networks.clear()


@st.cache_resource(show_spinner=False, max_entries=1)
def _networks(key: load.Stamp) -> Asked:
    return checker().ask("arms", "fields", "--json")


def check(draft: Draft, state: Sequence[Any]) -> Asked:
    """Check a draft. Each session has one check at a time: a new draft drops the previous check.

    `state`: whatever else the answer depends on, for example the settings of the base.
    """
    settings = [word for setting in draft.settings for word in ("--set", setting)]
    seeds = () if draft.seeds is None else ("--seeds", seeds_text(draft.seeds))
    words = ("arms", "check", draft.name, "--json", "--from", draft.base, *settings, *seeds)
    return ask_once(words, state, "new-arm-check")


def ask_once(words: Sequence[str], state: Sequence[Any], place: str = "new-arm-price") -> Asked:
    """The answer to a command in this session.

    `place`: key in the session state; a different query in the same place drops the previous one.
    """
    key = (tuple(words), tuple(state))
    known = st.session_state.get(place)
    if known is not None and known[0] == key:
        return known[1]
    if known is not None:
        known[1].dropped = True
    asked = checker().ask(*words)
    st.session_state[place] = (key, asked)
    return asked
