"""The selection of arms, weights and seed, which is stored in the URL.

/compare?arms=control&arms=agc&checkpoint=last&seed=median&tab=Images
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from app import choose, escape, layout, load
from study.evidence.arms import ArmResults
from study.evidence.metric_catalog import CHECKPOINTS
from study.evidence.model import Fence
from study.evidence.summary import fences
from study.report.gather import median_seed

MEDIAN = "median"
MOST_ARMS = 8  # colours distinguishable with any colour vision
SAME_AS = {"final": "last"}


@dataclass(frozen=True)
class Chosen:
    """`seed`: a number as text, or `median`: each arm's seed with the median amplitude error."""

    arms: tuple[str, ...]
    checkpoint: str
    seed: str

    def seed_of(self, arm: str) -> int:
        """The seed whose images are shown: the only one of a baseline with one run; if objects are
        drawn per seed, that of the first arm, so that all images show one object."""
        results = load.results()[arm]
        if results.label != "arm" and not results.objects_differ:
            return min(results.seeds)
        if self.seed != MEDIAN:
            return int(self.seed)
        first = self.median_of(self.arms[0])
        return first if results.objects_differ and first in results.seeds else self.median_of(arm)

    def median_of(self, arm: str) -> int:
        return median_seed(load.results()[arm], f"{self.checkpoint}.standard.amplitude.mae")

    @property
    def weights(self) -> str:
        return f"weights of the {self.checkpoint} epoch"


@dataclass(frozen=True)
class Block:
    """Arms that ran on one data set and may be compared. `place`: index in the selection, which
    determines the colour. `number`: 1 for the first block.
    """

    title: str
    arms: tuple[str, ...]
    place: Mapping[str, int]
    number: int

    def key(self, name: str) -> str:
        """A widget's key, which is in the URL: the plain name in the first block."""
        return name if self.number == 1 else f"{name}_{self.number}"


def choose_arms() -> Chosen | None:
    """The row of widgets under the title; None, with a notice, if nothing is selected."""
    found = load.results()
    if not found:
        st.info(
            "No runs in this checkout. Compute them with `make repro`, or download them with "
            "`make pull`."
        )
        return None
    _accept_other_words()
    left, middle, right = st.columns([6, 2, 3], vertical_alignment="bottom")
    names = ordered(found)
    with left:
        waiting = [arm for arm in choose.asked("arms") if arm in load.rows() and arm not in found]
        arms = choose.several(
            "Arms", names, "arms", usual(names), max_selections=MOST_ARMS, elsewhere=waiting
        )
    with middle:
        checkpoint = choose.one("Weights", CHECKPOINTS, "checkpoint", "last") or "last"
    with right:
        seed = choose_seed(seeds(found, arms))
    for arm in waiting:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.info(f"{escape.markdown(arm)} has no results yet.", width="stretch")
            layout.link("runs", "Start it", arm=arm)
    if not arms:
        st.info("Select at least one arm above; two or more are compared.")
        return None
    if len(arms) > MOST_ARMS:
        st.warning(
            f"{len(arms)} arms are chosen; the first {MOST_ARMS} are shown: more than "
            f"{MOST_ARMS} colours cannot be distinguished. Left out: "
            f"{escape.markdown(', '.join(arms[MOST_ARMS:]))}."
        )
    return Chosen(tuple(arms[:MOST_ARMS]), checkpoint, seed)


def choose_seed(options: Sequence[str]) -> str:
    """A select box for the seed, since the labels are long."""
    choose.tell_unknown("Seed", options, "seed")
    return st.selectbox(
        "Seed of the images",
        options,
        key="seed",
        bind="query-params",
        help="median: each arm's seed in the middle by amplitude error, or the first arm's where "
        "seeds have objects of their own; a number: that seed of every arm. A baseline with one "
        "run shows that one.",
    )


def _accept_other_words() -> None:
    """Accept the alias `epoch=final` for `checkpoint=last`; others are reported."""
    choose.tell_unknown("Epoch", (*CHECKPOINTS, *SAME_AS), "epoch")
    epoch = st.query_params.get("epoch", "")
    if epoch in (*CHECKPOINTS, *SAME_AS):
        choose.correct("checkpoint", SAME_AS.get(epoch, epoch), "epoch")
    elif (requested := st.query_params.get("checkpoint")) in SAME_AS:
        choose.correct("checkpoint", SAME_AS[requested])


def ordered(found: Mapping[str, ArmResults]) -> list[str]:
    """This pipeline before recorded studies, trained arms before references, the control first."""
    return sorted(
        found, key=lambda n: ("/" in n, found[n].label != "arm", n.split("/")[-1] != "control", n)
    )


def usual(names: Sequence[str]) -> list[str]:
    """The default selection: the control and the next arm."""
    return list(names[:2])


def seeds(found: Mapping[str, ArmResults], arms: Sequence[str]) -> list[str]:
    trained = [found[arm] for arm in arms if found[arm].label == "arm"]
    numbers = sorted({seed for arm in trained for seed in arm.known_seeds})
    return [MEDIAN, *map(str, numbers)]


def blocks(arms: Sequence[str]) -> list[Block]:
    """The selected arms by data set; arms on different data sets are not compared."""
    place = {arm: i for i, arm in enumerate(arms)}
    return [
        Block(_title(fence), tuple(fence.arms), place, number)
        for number, fence in enumerate(fences({a: load.results()[a] for a in arms}), start=1)
    ]


def fenced(found: Sequence[Block]) -> Iterator[Block]:
    """The blocks one by one, under headings if there are several."""
    for block in found:
        if len(found) > 1:
            st.markdown(f"#### :material/fence: Data set {escape.markdown(block.title)}")
        yield block


def _title(fence: Fence) -> str:
    paths = ", ".join(fence.paths)
    if fence.sha256 is None:
        return f"{paths}: the seeds of these arms ran on different data"
    return f"{paths} · {fence.sha256[:10]}"
