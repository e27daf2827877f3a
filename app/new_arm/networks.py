"""Questions that need torch, asked of `study` as a process of its own: the app imports none.

networks()   the options of every network (`study arms fields`), once for every state of the code
Check        one draft (`study arms check NAME --from BASE --set ...`)
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import streamlit as st

import study
from app import load
from study.editing.arms import Draft
from study.reading import seeds_text
from study.runs import children

POLL_S = 0.2
CODE = Path(study.__file__).parent


class Asked:
    """One command of `study` that prints a JSON object, on its way or done.

    Sessions share it: its files are read by one at a time.
    """

    def __init__(self, *words: str) -> None:
        self._name = " ".join(("study", *words[:2]))
        self._reading = threading.Lock()
        self._parsed: Mapping[str, Any] | None = None
        self._out: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (read when it is done)
        self._err: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        # A cache drops an answer without a word: its files close with it.
        self._closes = [weakref.finalize(self, stream.close) for stream in (self._out, self._err)]
        command = (sys.executable, "-m", "study", *words)
        self._process = children.start(
            command, load.ROOT, self._out, err=self._err, start_new_session=False
        )

    @property
    def done(self) -> bool:
        return self._process.poll() is not None

    def stop(self) -> None:
        """End a command whose answer nobody waits for any more."""
        if not self.done:
            self._process.kill()
            self._process.wait()

    @property
    def answer(self) -> Mapping[str, Any] | None:
        """The object; None while it is on its way and when there is a `refusal` instead."""
        if not self.done or self._process.returncode != 0:
            return None
        with self._reading:
            if self._parsed is None:
                self._parsed = json.loads(_read(self._out))
            return self._parsed

    @property
    def refusal(self) -> str | None:
        """Why there is no answer: the sentence for a user, or the last line of what went wrong."""
        if not self.done or self._process.returncode == 0:
            return None
        with self._reading:
            lines = _read(self._err).strip().splitlines() or ["no word"]
        if self._process.returncode == 2:
            return lines[-1].removeprefix("study: ")
        return f"{self._name} ended with exit code {self._process.returncode}: {lines[-1]}"


def _read(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode(errors="replace")


def wait(asked: Asked) -> None:
    """Wait for an answer, at the end of a page: a click meanwhile starts the page again."""
    while not asked.done:
        time.sleep(POLL_S)
        st.session_state.get("new-arm-check")  # where Streamlit lets a click interrupt


def networks() -> Asked:
    """`study arms fields`, asked once for every state of the networks' code."""
    return _networks(load.stamp(CODE / "generators"))


def ask_again() -> None:
    """Forget an answer that was none: the next page asks again."""
    _networks.clear()


@st.cache_resource(show_spinner=False, max_entries=1)
def _networks(key: load.Stamp) -> Asked:
    return Asked("arms", "fields", "--json")


def check(draft: Draft, state: Sequence[Any]) -> Asked:
    """The check of a draft, one at a time in a session: a new draft ends the old one's.

    `state`: whatever else the answer depends on, the settings of the base for example.
    """
    settings = [word for setting in draft.settings for word in ("--set", setting)]
    seeds = () if draft.seeds is None else ("--seeds", seeds_text(draft.seeds))
    words = ("arms", "check", draft.name, "--json", "--from", draft.base, *settings, *seeds)
    key = (words, tuple(state))
    known = st.session_state.get("new-arm-check")
    if known is not None and known[0] == key:
        return known[1]
    if known is not None:
        known[1].stop()
    asked = Asked(*words)
    st.session_state["new-arm-check"] = (key, asked)
    return asked
