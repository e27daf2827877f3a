"""Facts and sentences on traced runs, computed only from results/traces.json.

Rules, steps counted from 1. The error of a step is `mae` over `constant`: the relative mean
absolute error of its batch in units of what the best constant object has on that very batch, so
that batches which are hard for all objects do not count.
- A step is bad when its error exceeds `JUMP` times the median of up to `BEFORE` steps before it,
  or is not a number (`jump`); or when from it on the error is that of a constant object for good
  (`left`): the median of the last `BEFORE` steps had been below `MARGIN` and never is again. The
  first bad step is the earliest of them.
- A run whose median error over the last `END` steps is below `MARGIN` ends healthy, or recovered
  where a step was bad. Otherwise it ends failed if that error is not a number, collapsed if a part
  is dead, and unlearned if none is: no better than a constant object, but not dead.
- Up to the first bad step: the part that grew first is the first whose largest pre-activation is
  `GROWN` times that of step 1 (of several at one step, the one that grew most by then); the part
  that grew most has the largest such factor at the bad step itself.
- A part is dead when all its units are: what it passes on is constant over a batch.

They say what was seen and in which order; that one thing causes another is not in these numbers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from study.evidence.format import counted, enumerated, fmt, span
from study.evidence.shapes import TracesFile, checked
from study.reading import read_mapping
from study.settings import UserError

FILES = ("traces.json", "replays/*.json")
FORMAT = 1
JUMP, BEFORE, MARGIN, END, GROWN = 2.0, 10, 0.9, 20, 10.0
RULES = {"jump": JUMP, "before": BEFORE, "margin": MARGIN, "end": END, "grown": GROWN}
DIGITS = 5

Trace = Mapping[str, Any]
Growth = dict[str, Any]


def load(file: Path) -> dict[str, Any]:
    """results/traces.json, or a recorded one. Raises UserError when it is torn or another file."""
    content = read_mapping(file) or {}
    if content.get("format") != FORMAT:
        raise UserError(f"{file} holds no traces of format {FORMAT}; run `study trace run`")
    return checked(content, TracesFile, file, "compute it again with `study trace run`")


def rounded(value: Any) -> Any:
    """A copy whose numbers have `DIGITS` significant digits; None if not finite."""
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    if not isinstance(value, float):
        return value
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def numbers(values: Sequence[float | None]) -> Float[np.ndarray, " steps"]:
    """A stored column; what was no number is NaN."""
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


# --- the facts --------------------------------------------------------------------------------


def facts(trace: Trace) -> dict[str, Any]:
    """The rules of the module's docstring on one trace."""
    error = errors(trace)
    final = float(np.median(error[-END:]))
    jump, left = first_jump(error), None if final < MARGIN else first_left(error)
    bad = min((step for step in (jump, left) if step is not None), default=None)
    dead = [part for part, share in at_end(trace, "dead").items() if share == 1]
    return {
        "ended": ended(final, bad, dead),
        "first_bad_step": bad,
        "why_bad": None if bad is None else "jump" if bad == jump else "left",
        "error_before": None if bad is None else before(error, bad),
        "error_there": None if bad is None else finite(error[bad - 1]),
        "grew_first": None if bad is None else grew_first(trace, bad),
        "grew_most": None if bad is None else grew_most(trace, bad),
        "largest": max((v for v in at_end(trace, "largest").values() if v == v), default=None),
        "dead_parts": dead,
        "zero_tensors": trace["columns"]["zero_tensors"][-1],
        "tensors": trace["tensors"],
        "final_error": finite(final),
    }


def ended(final: float, bad: int | None, dead: Sequence[str]) -> str:
    """healthy, recovered, unlearned, collapsed or failed, by the rules."""
    if final < MARGIN:
        return "healthy" if bad is None else "recovered"
    if not math.isfinite(final):
        return "failed"
    return "collapsed" if dead else "unlearned"


def errors(trace: Trace) -> Float[np.ndarray, " steps"]:
    """Error of every step in units of the best constant object's on the same batch."""
    return numbers(trace["columns"]["mae"]) / numbers(trace["columns"]["constant"])


def finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def before(error: Float[np.ndarray, " steps"], step: int) -> float | None:
    """Median of up to `BEFORE` steps before `step`; None before step 2."""
    return finite(np.median(error[max(0, step - 1 - BEFORE) : step - 1])) if step > 1 else None


def first_jump(error: Float[np.ndarray, " steps"]) -> int | None:
    """The first step with an error above `JUMP` times `before`, or that is not a number."""
    for step in range(1, len(error) + 1):
        usual = before(error, step)
        known = math.isfinite(error[step - 1])
        if not known or (usual is not None and error[step - 1] > JUMP * usual):
            return step
    return None


def first_left(error: Float[np.ndarray, " steps"]) -> int | None:
    """The step after the last one at which the median of `BEFORE` steps was below `MARGIN`.

    None when it never was.
    """
    medians = {k: np.median(error[k - BEFORE : k]) for k in range(BEFORE, len(error) + 1)}
    last = max((k for k, median in medians.items() if median < MARGIN), default=len(error))
    return last + 1 if last < len(error) else None


def at_end(trace: Trace, key: str) -> dict[str, float]:
    """The number `key` of every part in the last step."""
    return {part: float(numbers(trace["by_part"][key][part])[-1]) for part in trace["parts"]}


def grew_first(trace: Trace, bad: int) -> Growth | None:
    """The part that first was `GROWN` times as large as in step 1, up to step `bad`."""
    steps = [step for step in trace["shown_steps"] if step <= bad]
    for step in steps:
        found = largest_growth(trace, step)
        if found is not None and found["factor"] >= GROWN:
            return found
    return None


def grew_most(trace: Trace, bad: int) -> Growth | None:
    """The part whose largest pre-activation has the largest factor at the last step up to `bad`."""
    return largest_growth(trace, max(step for step in trace["shown_steps"] if step <= bad))


def largest_growth(trace: Trace, step: int) -> Growth | None:
    """Among all parts the largest factor between step 1 and `step`; None where none is a number."""
    place = trace["shown_steps"].index(step)
    found = []
    for part in trace["parts"]:
        column = numbers(trace["by_part"]["largest"][part])
        start, there = float(column[0]), float(column[place])
        if start > 0 and math.isfinite(there):
            growth = {"part": part, "step": step, "from": start, "to": there}
            found.append({**growth, "factor": there / start})
    return max(found, key=lambda growth: growth["factor"], default=None)


# --- a replay: where a run that had learned is lost -------------------------------------------


def replay_facts(trace: Trace) -> dict[str, Any]:
    """What a replay (`study trace replay`) shows; steps are counted from 1 at the checkpoint.

    `lost`: the first step whose error is that of a constant object, or more (None without one);
    `peak`: the step of the largest gradient norm. At each of them `patterns` of the batch (`full`:
    of a whole one), and by part the growth of the largest pre-activation over its median before
    `lost`, the root mean square `update` of the weights in units of the learning rate beside its
    median before, the root of Adam's mean second moment before the step, and the dead share. One
    large gradient after small ones lets Adam move a weight by (1 - b1) / sqrt(1 - b2) = 3.2
    learning rates at most.
    """
    error, norms = errors(trace), numbers(trace["columns"]["gradient_norm"])
    bad = np.flatnonzero(~(error < 1))
    lost = int(bad[0]) + 1 if len(bad) else None
    peak = int(np.argmax(np.where(np.isfinite(norms), norms, np.inf))) + 1
    usual = slice(0, max(1, (lost or peak) - 1))
    return {
        "lost": None if lost is None else _at(trace, lost, usual),
        "peak": _at(trace, peak, usual),
        "epoch": trace["after_epoch"] + 1,
        "full": max(trace["columns"]["patterns"]),
        "usual_error": finite(np.median(error[usual])),
        "usual_gradient_norm": finite(np.median(norms[usual])),
    }


def _at(trace: Trace, step: int, usual: slice) -> dict[str, Any]:
    """The numbers of one step, those of the parts beside their median over `usual`."""
    parts = {}
    for part in trace["parts"]:
        column = {key: numbers(trace["by_part"][key][part]) for key in trace["by_part"]}
        before = {key: float(np.median(values[usual])) for key, values in column.items()}
        parts[part] = {
            "growth": finite(column["largest"][step - 1] / before["largest"]),
            "update": finite(column["update"][step - 1]),
            "usual_update": finite(before["update"]),
            "moment": finite(column["moment"][step - 1]),
            "dead": finite(column["dead"][step - 1]),
        }
    return {
        "step": step,
        "patterns": trace["columns"]["patterns"][step - 1],
        "error": finite(errors(trace)[step - 1]),
        "gradient_norm": finite(numbers(trace["columns"]["gradient_norm"])[step - 1]),
        "parts": parts,
    }


def replay_sentence(trace: Trace) -> str:
    """The answer of a replay: which batch, which part first, what Adam knew, what came later."""
    seen = replay_facts(trace)
    where = f"{trace['arm']}, seed {trace['seed']}, epoch {seen['epoch']}"
    lost, peak = seen["lost"], seen["peak"]
    if lost is None:
        return f"{where}: the error stays below that of a constant object in {trace['steps']} steps"
    kind = "a whole batch" if lost["patterns"] == seen["full"] else "a partial batch"
    first, facts = max(lost["parts"].items(), key=lambda item: item[1]["growth"] or 0.0)
    dead = [part for part, there in peak["parts"].items() if (there["dead"] or 0) > 0.9]
    norms = fmt(lost["gradient_norm"], 2), fmt(seen["usual_gradient_norm"], 2)
    return (
        f"{where}: the error reaches that of a constant object in step {lost['step']}, on {kind} "
        f"of {lost['patterns']} patterns (median before: {fmt(seen['usual_error'], 2)} of it), "
        f"with a gradient norm of {norms[0]} (median {norms[1]}). The pre-activations of {first} "
        f"have grown most by then, {fmt(facts['growth'], 2)} times their median; its weights move "
        f"by {fmt(facts['update'], 2)} learning rates in that step (median "
        f"{fmt(facts['usual_update'], 2)}) over a root second moment of {fmt(facts['moment'], 2)}. "
        f"The largest gradient norm, {fmt(peak['gradient_norm'], 4)}, comes in step "
        f"{peak['step']}, when {enumerated(dead) or 'no part'} is dead by more than 90 %."
    )


# --- the sentences ----------------------------------------------------------------------------


def sentence(trace: Trace) -> str:
    """What one trace shows, from its `facts`."""
    end_facts = trace["facts"]
    rate = fmt(max(trace["columns"]["learning_rate"]), 2)
    where = f"{trace['arm']}, seed {trace['seed']}, {trace['steps']} steps at rates up to {rate}"
    return f"{where}: {_bad(end_facts)}{_growth(end_facts)}; {_end(end_facts)}."


def _bad(trace: Mapping[str, Any]) -> str:
    step = trace["first_bad_step"]
    if step is None:
        return "no step was bad"
    if trace["why_bad"] == "left":
        return f"from step {step} on the error is that of a constant object"
    there = "no number" if trace["error_there"] is None else fmt(trace["error_there"], 3)
    usual = "" if trace["error_before"] is None else f", {fmt(trace['error_before'], 3)} before it"
    return (
        f"step {step} is the first bad one (error {there} times that of a constant object{usual})"
    )


def _growth(trace: Mapping[str, Any]) -> str:
    first, most = trace["grew_first"], trace["grew_most"]
    if most is None:
        return ""
    start = (
        f"; no part's largest pre-activation grew {GROWN:g} times by then"
        if first is None
        else f"; the largest pre-activation of {first['part']} grew {GROWN:g} times first, at step "
        f"{first['step']}"
    )
    span = f"{fmt(most['from'], 2)} in step 1 to {fmt(most['to'], 2)} in step {most['step']}"
    return f"{start}, and {most['part']} went furthest, from {span}"


def _end(trace: Mapping[str, Any]) -> str:
    error = "no number" if trace["final_error"] is None else fmt(trace["final_error"], 3)
    dead = enumerated(trace["dead_parts"])
    units = f"all units of {dead} are dead" if dead else "no part is wholly dead"
    return (
        f"it ended {trace['ended']} at {error} times the error of a constant object, {units} and "
        f"{trace['zero_tensors']} of "
        f"{trace['tensors']} tensors get exactly zero gradient"
    )


def arm_sentences(traces: Sequence[Trace]) -> dict[str, str]:
    """One sentence an arm, over its seeds."""
    names = dict.fromkeys(trace["arm"] for trace in traces)
    return {name: arm_sentence([t for t in traces if t["arm"] == name]) for name in names}


def arm_sentence(traces: Sequence[Trace]) -> str:
    """How the seeds of one arm ended, where they went bad, and what had grown by then."""
    runs = [trace["facts"] for trace in traces]
    ends = Counter(one["ended"] for one in runs)
    seeds = counted(len(runs), "seed")
    shares = enumerated([f"{count} {end}" for end, count in ends.most_common()])
    bad = [one for one in runs if one["first_bad_step"] is not None]
    zero = span([one["zero_tensors"] for one in runs])
    return (
        f"{traces[0]['arm']}, {seeds}: {shares}{_first_bad(bad, len(runs))}; at the end "
        f"{_counts(runs, _dead_of, 'no part') or 'no part'} wholly dead, {zero} of "
        f"{runs[0]['tensors']} tensors with exactly zero gradient."
    )


def _dead_of(trace: Mapping[str, Any]) -> list[str]:
    return trace["dead_parts"]


def _most_of(trace: Mapping[str, Any]) -> list[str]:
    return [trace["grew_most"]["part"]] if trace["grew_most"] else []


def _first_bad(bad: Sequence[Mapping[str, Any]], of: int) -> str:
    if not bad:
        return "; no step was bad"
    steps = span([one["first_bad_step"] for one in bad])
    grown = [one["grew_most"] for one in bad if one["grew_most"]]
    if not grown:
        return f"; first bad step {steps} (in {len(bad)} of {of})"
    factors = span([one["factor"] for one in grown])
    return (
        f"; first bad step {steps} (in {len(bad)} of {of}), by which the largest pre-activation "
        f"had grown most in {_counts(bad, _most_of, 'none')}, {factors} times since step 1"
    )


def _counts(
    traces: Sequence[Mapping[str, Any]], parts: Callable[[Mapping[str, Any]], list[str]], none: str
) -> str:
    """`decoder.2 (2 of 3), decoder.1 (1 of 3)`: how many seeds have each part in their list."""
    found = Counter(part for one in traces for part in parts(one))
    return ", ".join(f"{part} ({n} of {len(traces)})" for part, n in found.most_common()) or none
