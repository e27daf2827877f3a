"""A claim's effect as a picture: interval and estimate against zero and the margin, seeds as dots.

Made of placed boxes, for `st.html` lets no SVG by. Numbers alone place them; words are escaped.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from study.evidence.wording import fmt, percent

EDGE = 4.0  # per cent of the width that stays free at both ends
# Of Okabe and Ito; they tell apart on paper and on ink. The chip beside them says it in words.
COLOURS = {
    "supported": "#009E73",
    "refuted": "#D55E00",
    "equivalent": "#0072B2",
}
PLAIN = "#808080"
Entry = Mapping[str, Any]


def reach(entries: Iterable[Entry]) -> float:
    """Half of the common axis of a family's effects: what holds every interval and margin."""
    found = [0.0]
    for entry in entries:
        effect = entry["effect"] or {}
        found += [entry["margin"], *(effect.get(k) for k in ("estimate", "low", "high"))]
    return 1.05 * max(abs(v) for v in found if v is not None) or 1.0


def differences(entry: Entry) -> list[tuple[int, float]]:
    """(seed, treatment minus control) of the seeds that have both numbers."""
    if entry["pairing"] != "seed":
        return []
    pairs = [(s["seed"], s["treatment"]["value"], s["control"]["value"]) for s in entry["seeds"]]
    return [(seed, a - b) for seed, a, b in pairs if a is not None and b is not None]


def picture(entry: Entry, half_axis: float, status: str) -> str:
    """The effect as HTML with its words below; a sentence where no effect was computed."""
    effect = entry["effect"]
    if effect is None:
        return f'<div class="arm-effect none">no effect computed: {_short(entry["reason"])}</div>'
    colour = COLOURS.get(status, PLAIN)
    boxes = [
        *_ground(entry, half_axis),
        *_seeds(entry, half_axis),
        *_bar(effect, half_axis, colour),
    ]
    words = html.escape(sentence(entry))
    return (
        f'<div class="arm-effect"><div class="plot" role="img" aria-label="{words}">'
        f"{''.join(boxes)}</div><span>{words}</span></div>"
    )


def sentence(entry: Entry) -> str:
    """`-0.0347 [-0.0483, -0.0210] object units at 97.5 %; margin 0.01; 8 of 8 seeds`."""
    effect = entry["effect"]
    unit = f" {entry['unit']}" if entry["unit"] else ""
    bounds = (
        "" if effect["low"] is None else f" [{fmt(effect['low'], 3)}, {fmt(effect['high'], 3)}]"
    )
    level = "" if effect["low"] is None else f" at {percent(effect['level'])}"
    return (
        f"{fmt(effect['estimate'], 3)}{bounds}{unit}{level}; margin {fmt(entry['margin'], 3)}; "
        f"{entry['n']} of {entry['needed_seeds']} seeds"
    )


def _x(value: float, half_axis: float) -> float:
    """Place in per cent of the width; what lies beyond the axis is held at its end."""
    inside = max(-1.0, min(1.0, value / half_axis))
    return round(50 + inside * (50 - EDGE), 2)


def _box(
    kind: str, left: float, width: float | None = None, style: str = "", says: str = ""
) -> str:
    wide = "" if width is None else f"width:{round(width, 2)}%;"
    title = f' title="{html.escape(says)}"' if says else ""
    return f'<i class="{kind}" style="left:{left}%;{wide}{style}"{title}></i>'


def _ground(entry: Entry, half_axis: float) -> list[str]:
    """Axis, margin to both sides, zero, and the side that is claimed."""
    left, right = (_x(side * entry["margin"], half_axis) for side in (-1, 1))
    boxes = [
        _box("margin", left, right - left),
        _box("axis", EDGE, 100 - 2 * EDGE),
        _box("zero", _x(0, half_axis)),
    ]
    if entry["direction"] in ("lower", "higher"):
        boxes.append(f'<i class="claimed {entry["direction"]}"></i>')
    return boxes


def _seeds(entry: Entry, half_axis: float) -> list[str]:
    return [
        _box("seed", _x(value, half_axis), says=f"s{int(seed)} {fmt(value)}")
        for seed, value in differences(entry)
    ]


def _bar(effect: Mapping[str, Any], half_axis: float, colour: str) -> list[str]:
    paint = f"background:{colour};"
    boxes = []
    if effect["low"] is not None:
        low, high = _x(effect["low"], half_axis), _x(effect["high"], half_axis)
        boxes = [
            _box("bar", low, high - low, paint),
            *(_box("end", x, None, paint) for x in (low, high)),
        ]
    return [*boxes, _box("point", _x(effect["estimate"], half_axis), None, paint)]


def _short(text: str) -> str:
    return html.escape(text if len(text) <= 140 else text[:139] + "…")


def second(judged: Mapping[str, Any], entry: Entry) -> str:
    """The second object's effect on the axis of the first."""
    facts = {**entry, "effect": judged["effect"], "n": judged["n"], "seeds": ()}
    needed: Sequence[Entry] = (entry, facts)
    return picture({**facts, "needed_seeds": judged["n"]}, reach(needed), entry["status"])


STYLE = """
<style>
  .arm-effect { max-width: 420px; font-variant-numeric: tabular-nums; }
  .arm-effect span, .arm-effect.none { display: block; font-size: 0.8rem; opacity: .8; }
  .arm-effect .plot { position: relative; height: 32px; }
  .arm-effect i { position: absolute; display: block; }
  .arm-effect .margin { top: 2px; bottom: 2px; background: currentColor; opacity: .10; }
  .arm-effect .axis { top: 13px; height: 1px; background: currentColor; opacity: .25; }
  .arm-effect .zero { top: 0; bottom: 0; border-left: 1px dashed currentColor; opacity: .7; }
  .arm-effect .bar { top: 12px; height: 3px; }
  .arm-effect .end { top: 9px; height: 9px; width: 2px; margin-left: -1px; }
  .arm-effect .point { top: 9px; width: 9px; height: 9px; margin-left: -4.5px; border-radius: 50%; }
  .arm-effect .seed { top: 23px; width: 4px; height: 4px; margin-left: -2px; border-radius: 50%;
    background: currentColor; opacity: .55; }
  .arm-effect .claimed { top: 9px; border: 4.5px solid transparent; opacity: .55; }
  .arm-effect .claimed.lower { left: 0; border-left: 0; border-right: 7px solid currentColor; }
  .arm-effect .claimed.higher { right: 0; border-right: 0; border-left: 7px solid currentColor; }
  [class*="st-key-claim-open-"] { scroll-margin-top: 4.5rem; }
</style>
"""
