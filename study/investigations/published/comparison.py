"""The published numbers beside ours: value, interval, n, and a computed verdict for each.

    reproduced       the published value lies where our seeds predict one more; or runs die here too
    not reproduced   it lies outside; or no run dies here, and so many could have shown that they do
    not resolved     no run dies here, of too few to exclude the published rate (Fisher's exact p)
    not comparable   another protocol, other weights, or nothing to score: the reason says which
    not run          no results of our arm at that scale

Design choices
- The spread that counts is that of a further seed, t_(n-1) s sqrt(1/n + 1/m) about our mean for m
  published seeds: a single published run is not a mean.
- By value only scores of the same protocol are compared. Every setting that the publication states
  is held against those of the stored runs; the first thing that differs forbids it.
- Losses belong to one probe and one dose and are compared as skill, or not at all.
- A published value that any constant object gets says that the run died. That needs no common
  scale: the verdict is whether ours die, with the exact interval of the rate.
- A run that died, or a channel that the gate refuses, has no score here, whatever the metric set
  `published` prints for it: phase SSIM 1.000 is what a dead run gets where the truth has no phase.
- Beside the verdict stands the order against the control, which transfers between scales: the sign
  of the published difference against our paired 95 % interval. Not where runs of either arm died.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from study.evidence import statistics
from study.evidence.arms import ArmResults, block
from study.evidence.evaluable import gate_of, is_constant, why_not
from study.evidence.format import fmt, join_words, percent, reproduce
from study.evidence.metric_catalog import KNOWN
from study.investigations.published.publication import (
    ALWAYS_DIFFERENT,
    PIXELS,
    ROWS,
    SCALES,
    PublishedNumber,
    PublishedRow,
    Scale,
)
from study.reading import read_table

VERDICTS = ("reproduced", "not reproduced", "not resolved", "not comparable", "not run")
# A row without spread (floor, ceiling) is held to what another CPU's rounding may do.
WITHOUT_SPREAD = 1e-3
PROTOCOL = "protocol differs"
SECONDS = "training.seconds_per_epoch"


def compare(arms: Mapping[str, ArmResults]) -> dict[str, Any]:
    """`findings["published"]`: an entry per published number, scale and weights, and the counts.

    An entry names row, number, scale and weights, gives the published value and what it measured,
    our estimate with interval and n (null where nothing may be scored, with the reason of every
    seed), the settings that differ, `verdict`, `reason`, and the order against the control.
    """
    entries = [
        entry
        for row in ROWS
        for number in row.numbers
        for scale in SCALES
        for entry in _entries(row, number, scale, arms)
    ]
    return {
        "entries": entries,
        "counts": {
            scale: {v: sum(_is(entry, scale, v) for entry in entries) for v in VERDICTS}
            for scale in SCALES
        },
        "always_different": list(ALWAYS_DIFFERENT),
    }


def _is(entry: Mapping[str, Any], scale: Scale, verdict: str) -> bool:
    return entry["scale"] == scale and entry["verdict"] == verdict


def _entries(
    row: PublishedRow, number: PublishedNumber, scale: Scale, arms: Mapping[str, ArmResults]
) -> Iterator[dict[str, Any]]:
    place = row.places.get(scale)
    arm = _first(place.arms if place else (), arms)
    control = _first(place.controls if place else (), arms)
    for weights in _weights(row, number, arm):
        seen = Seen(row, number, scale, weights, arm, control)
        yield seen.entry()


def _first(names: Sequence[str], arms: Mapping[str, ArmResults]) -> ArmResults | None:
    return next((arms[name] for name in names if name in arms), None)


def _weights(row: PublishedRow, number: PublishedNumber, arm: ArmResults | None) -> tuple[str, ...]:
    """Best and last are rows of their own, unless the other was published as well.

    A reference has one object, a run one duration.
    """
    published = [other.weights for other in row.numbers if other.name == number.name]
    if arm is None or _of_the_run(number) or len(published) > 1:
        return (number.weights,)
    return ("best", "last") if arm.label == "arm" else ("last",)


def _of_the_run(number: PublishedNumber) -> bool:
    return number.name.partition(".")[0] in ("history", "training", "outcome")


@dataclass(frozen=True)
class Seen:
    """One published number beside one of our arms at one scale, for one set of weights."""

    row: PublishedRow
    number: PublishedNumber
    scale: Scale
    weights: str
    arm: ArmResults | None
    control: ArmResults | None

    def entry(self) -> dict[str, Any]:
        verdict, reason = self.judged
        ours = None
        if self.values:
            ours = asdict(statistics.mean_interval(list(self.values.values())))
        return {
            "row": self.row.name,
            "what": self.row.what,
            "number": self.number.name,
            "published": published_words(self.row, self.number),
            "published_values": list(self.number.values),
            "measured": self.number.measured,
            "scale": self.scale,
            "arm": None if self.arm is None else self.arm.name,
            "weights": self.weights if self.arm is None or self.arm.label == "arm" else "only",
            "compared": self.path,
            "id": self.id,
            "reproduce": None if self.arm is None else reproduce([self.arm.name]),
            "ours": ours,
            "seeds": 0 if self.arm is None else len(self.arm.seeds),
            "blank": {f"s{seed}": reason for seed, reason in self.blank.items()},
            "died": [f"s{seed}" for seed in self.died],
            "differs": self.differs,
            "verdict": verdict,
            "reason": reason,
            "order": self.order(),
        }

    # -- our numbers

    @property
    def path(self) -> str:
        """Path of our number; a loss is compared as skill."""
        if _of_the_run(self.number):
            return self.number.name
        return f"{self.weights}.{'skill' if self.number.name == 'val_loss' else self.number.name}"

    @property
    def id(self) -> str | None:
        """What `study explain` calls our mean; None where seeds are blank or it has no column."""
        known = self.arm is not None and self.values and not self.blank and self.path in KNOWN
        return f"{self.arm.name}/mean/{self.path}" if known and self.arm else None

    @cached_property
    def blank(self) -> dict[int, str]:
        """Seed -> why its object has no score."""
        return {} if self.arm is None else blank(self.arm, self.number.name, self.weights)

    @cached_property
    def values(self) -> dict[int, float]:
        """Our number of every seed that may be scored."""
        return {} if self.arm is None else values(self.arm, self.path, self.blank)

    @cached_property
    def died(self) -> list[int]:
        return [] if self.arm is None else died(self.arm, self.weights)

    @cached_property
    def differs(self) -> dict[str, list[Any]]:
        return {} if self.arm is None else differences(self.row, self.arm)

    # -- the verdict

    @cached_property
    def judged(self) -> tuple[str, str]:
        """The verdict and its reason, a clause."""
        if self.number.name == "outcome":
            return _memory(self.row)
        if self.arm is None:
            return "not run", "no results of our arm"
        if self.weights != self.number.weights:
            return "not comparable", f"the published number is of the {self.number.weights} weights"
        dead = sum(self.row.is_constant(self.number.name, v) for v in self.number.values)
        if dead and self.arm.label == "arm":
            return self._recurrence(dead)
        if not self.values:
            return "not comparable", join_words(dict.fromkeys(self.blank.values()) or ["no number"])
        if self.number.name == SECONDS:
            return "not comparable", "another machine"
        relevant = {"phase"} if self.number.scale_free else set(self.differs)
        if relevant & set(self.differs):
            return "not comparable", PROTOCOL
        return self._by_value()

    def _recurrence(self, dead: int) -> tuple[str, str]:
        """Whether runs die here as well; of the rate the exact interval."""
        assert self.arm is not None
        counts, published = (len(self.died), len(self.arm.seeds)), (dead, len(self.number.values))
        rate, p = statistics.clopper_pearson(*counts), statistics.fisher_p(counts, published)
        words = (
            f"{counts[0]} of {counts[1]} runs died ({percent(rate.level)} interval "
            f"{percent(rate.low or 0)} to {percent(rate.high or 0)}), published {published[0]} of "
            f"{published[1]}, Fisher's p = {fmt(p, 2)}"
        )
        words += f"; {PROTOCOL}" if self.differs else ""
        if counts[0]:
            return "reproduced", words
        # None died: a difference only where so many runs could have shown the published rate.
        return ("not reproduced" if p <= statistics.ALPHA else "not resolved"), words

    def _by_value(self) -> tuple[str, str]:
        sample = list(self.values.values())
        distance = abs(self._mean(self.row, self.number) - float(np.mean(sample)))
        if self.arm is not None and self.arm.label != "arm":
            allowed = WITHOUT_SPREAD
        elif len(sample) < 2:
            return "not comparable", "one seed has no spread"
        else:
            allowed = statistics.prediction_half_width(sample, len(self.number.values))
        words = f"{fmt(distance, 2)} apart, {fmt(allowed, 2)} allowed, n = {len(sample)}"
        return ("reproduced" if distance <= allowed else "not reproduced"), words

    @property
    def _is_loss(self) -> bool:
        return self.number.name == "val_loss"

    # -- the order

    def order(self) -> dict[str, Any] | None:
        """The published difference to `versus` and ours.

        None where nothing was published of these weights, and for a phase that the truth has not.
        """
        other = next((row for row in ROWS if row.name == self.row.versus), None)
        if other is None or self.weights != self.number.weights or "phase" in self.number.name:
            return None
        wanted = (self.number.name, self.number.weights)
        theirs = next((n for n in other.numbers if (n.name, n.weights) == wanted), None)
        if theirs is None:
            return None
        ours, past = (self._mean(row, n) for row, n in ((self.row, self.number), (other, theirs)))
        facts = {"versus": other.name, "published": ours - past}
        return {**facts, **self._our_order(ours - past)}

    def _mean(self, row: PublishedRow, number: PublishedNumber) -> float:
        """Mean of the published values; of losses the skill."""
        return float(np.mean([row.skill(v) if self._is_loss else v for v in number.values]))

    def _our_order(self, published: float) -> dict[str, Any]:
        if self.arm is None or self.control is None:
            return {"ours": None, "verdict": "not run"}
        if self.arm.data_sha256 is None or self.arm.data_sha256 != self.control.data_sha256:
            return {"ours": None, "verdict": "not computed: other data"}
        if self.died or died(self.control, self.weights):
            return {"ours": None, "verdict": "not computed: runs died"}
        right = values(self.control, self.path, blank(self.control, self.number.name, self.weights))
        shared = sorted(set(self.values) & set(right))
        if not shared:
            return {"ours": None, "verdict": "not computed: nothing to score"}
        effect = statistics.paired_interval(
            [self.values[seed] for seed in shared], [right[seed] for seed in shared]
        )
        return {"ours": asdict(effect), "verdict": _same_order(effect, published)}


def _same_order(effect: statistics.Interval, published: float) -> str:
    if effect.low is None or effect.high is None or effect.low <= 0 <= effect.high:
        return "not resolved"
    return "same order" if (effect.estimate > 0) == (published > 0) else "other order"


def _memory(row: PublishedRow) -> tuple[str, str]:
    """What depth a grid allows: each level halves it."""
    blocks = row.settings["generator.fno_blocks"]
    assert isinstance(blocks, int)
    deepest = PIXELS / 2 ** (blocks - 1)
    if deepest >= 1:
        return "not run", "no results of our arm"
    return "not comparable", (
        f"refused before any memory is taken: {blocks} levels halve {PIXELS} px to {fmt(deepest)} "
        "px at the deepest"
    )


# --- our numbers ------------------------------------------------------------------------------


def values(arm: ArmResults, path: str, blanked: Mapping[int, str]) -> dict[int, float]:
    """The number at `path` of every seed that is not `blanked`."""
    if path == SECONDS:
        seconds, epochs = arm.values("training.seconds"), arm.values("training.epochs")
        return {s: seconds[s] / epochs[s] for s in seconds if epochs.get(s)}
    if path.startswith("history."):
        return _history(arm, path.partition(".")[2])
    return {seed: v for seed, v in arm.values(path).items() if seed not in blanked}


def _history(arm: ArmResults, column: str) -> dict[int, float]:
    """A run's median over the epochs of a column of history.csv; the largest of a `_max`."""
    file = next((f.parent.parent / "history.csv" for f in arm.files.values()), None)
    if file is None or not file.is_file():
        return {}
    found: dict[int, list[float]] = {}
    for record in read_table(file, needed=("seed",)).to_dict("records"):
        if not math.isnan(record.get(column, math.nan)):
            found.setdefault(int(record["seed"]), []).append(float(record[column]))
    middle = np.max if column.endswith("_max") else np.median
    whole = {seed: float(middle(series)) for seed, series in found.items()}
    return {seed: value for seed, value in whole.items() if np.isfinite(value)}


def blank(arm: ArmResults, name: str, weights: str) -> dict[int, str]:
    """Seeds whose object has no such score, with the reason. Floor and ceiling print theirs."""
    if not name.startswith("published.") or arm.label in ("floor", "ceiling"):
        return {}
    channel = name.split(".")[1]
    found = {seed: _why(content, channel, weights) for seed, content in arm.seeds.items()}
    return {seed: reason for seed, reason in found.items() if reason}


def _why(content: Mapping[str, Any], channel: str, weights: str) -> str | None:
    part = block(content, weights)
    if part is None:
        return f"no object: {content['cause'] or content['outcome']}"
    if gate_of(content, weights, channel) is None:
        return "no truth"
    if reason := why_not(content, weights, channel):
        return reason
    if weights == "last" and content["outcome"] != "ok":
        return f"{content['outcome']}: {content['cause']}"
    return None


def died(arm: ArmResults, weights: str) -> list[int]:
    """Seeds whose run failed or collapsed, or whose object of these weights is a constant."""
    return [seed for seed, content in arm.seeds.items() if _is_dead(content, weights)]


def _is_dead(content: Mapping[str, Any], weights: str) -> bool:
    part = block(content, weights)
    if part is None or (weights == "last" and content["outcome"] != "ok"):
        return True
    return is_constant(content, weights)


def differences(row: PublishedRow, arm: ArmResults) -> dict[str, list[Any]]:
    """Setting -> [published, ours], for everything published that our runs do not share."""
    settings = arm.facts("settings")
    if len(settings) != 1:
        return {"settings": ["one", f"{len(settings)} over the seeds"]}
    found = {key: [want, settings[0].get(key)] for key, want in row.settings.items()}
    for path, want in row.facts.items():
        have = sorted(set(arm.values(path).values()))
        found[path.partition(".")[2]] = [want, have[0] if len(have) == 1 else None]
    found["phase"] = [row.phase, _has_phase(arm)]
    return {key: pair for key, pair in found.items() if pair[0] != pair[1]}


def _has_phase(arm: ArmResults) -> bool | None:
    """Whether the truth has a phase, by the gate; None where no object was scored."""
    gates = [
        gate
        for content in arm.seeds.values()
        for weights in ("best", "last")
        if (gate := gate_of(content, weights, "phase"))
    ]
    return all(gate["spread_ratio"] is not None for gate in gates) if gates else None


def published_words(row: PublishedRow, number: PublishedNumber) -> str:
    """A published number as it was printed; a loss with its skill."""
    digits = ".3f" if number.name.startswith("published.") else "g"
    text = number.word or " / ".join(format(value, digits) for value in number.values)
    if number.name == "val_loss":
        text += f" (skill {fmt(row.skill(number.values[0]), 3)})"
    return text
