"""A claim's effect as a picture: estimate, interval, zero, margin, and one dot per seed.

It consists of HTML boxes, since `st.html` removes SVG. Their positions depend only on numbers; text
is escaped.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

from study.evidence.claim_finding import ClaimFinding
from study.evidence.claim_words import effect_words
from study.evidence.estimates import Effect
from study.evidence.format import fmt, percent

EDGE = 4.0  # per cent of the width that stays free at both ends
# From Okabe and Ito, distinguishable on light and dark. The chip beside them has the word.
COLOURS = {
    "supported": "#009E73",
    "refuted": "#D55E00",
    "equivalent": "#0072B2",
}
PLAIN = "#808080"
LEGEND = (
    "Point: effect, bar: its interval, dots: seeds, grey band: the margin, dashes: "
    "zero or the goal, triangle: the claimed side"
)


def reach(claims: Iterable[ClaimFinding]) -> float:
    """Half of the common axis of a family's effects, which contains every interval and margin."""
    found = [0.0]
    for claim in claims:
        effect = claim.effect
        bounds = () if effect is None else (effect.estimate, effect.low, effect.high)
        found += [claim.margin, *(abs(value) for value in bounds if value is not None)]
    return 1.05 * max(found) or 1.0


def picture(claim: ClaimFinding, half_axis: float, status: str) -> str:
    """The effect as HTML with a text below; a sentence if no effect was computed."""
    if claim.effect is None:
        return f'<div class="arm-effect none">no effect computed: {_short(claim.reason)}</div>'
    seeds = claim.seeds if claim.pairing == "seed" else ()
    differences = [(seed.seed, seed.difference) for seed in seeds]
    boxes = [
        *_ground(claim, half_axis),
        *(
            _box("seed", _x(value, half_axis), says=f"s{seed} {fmt(value)}")
            for seed, value in differences
            if value is not None
        ),
        *_bar(claim.effect, half_axis, COLOURS.get(status, PLAIN)),
    ]
    words = html.escape(sentence(claim))
    return (
        f'<div class="arm-effect"><div class="plot" role="img" aria-label="{words}">'
        f"{''.join(boxes)}</div><span>{words}</span></div>"
    )


def sentence(claim: ClaimFinding) -> str:
    """`-0.0347 [-0.0483, -0.0210] object units at 97.5 %; margin 0.01; 8 of 8 seeds`."""
    effect = claim.effect
    level = "" if effect is None or effect.low is None else f" at {percent(effect.level)}"
    return (
        f"{effect_words(claim)}{level}; margin {fmt(claim.margin, 3)}; "
        f"{claim.n} of {claim.needed_seeds} seeds"
    )


def _x(value: float, half_axis: float) -> float:
    """Position in per cent of the width; values beyond the axis are placed at its end."""
    inside = max(-1.0, min(1.0, value / half_axis))
    return round(50 + inside * (50 - EDGE), 2)


def _box(
    kind: str, left: float, width: float | None = None, style: str = "", says: str = ""
) -> str:
    wide = "" if width is None else f"width:{round(width, 2)}%;"
    title = f' title="{html.escape(says)}"' if says else ""
    return f'<i class="{kind}" style="left:{left}%;{wide}{style}"{title}></i>'


def _ground(claim: ClaimFinding, half_axis: float) -> list[str]:
    """Axis, margin to both sides, zero, and the side that is claimed."""
    left, right = (_x(side * claim.margin, half_axis) for side in (-1, 1))
    boxes = [
        _box("margin", left, right - left),
        _box("axis", EDGE, 100 - 2 * EDGE),
        _box("zero", _x(0, half_axis)),
    ]
    if claim.direction in ("lower", "higher"):
        boxes.append(f'<i class="claimed {claim.direction}"></i>')
    return boxes


def _bar(effect: Effect, half_axis: float, colour: str) -> list[str]:
    paint, boxes = f"background:{colour};", []
    if effect.low is not None and effect.high is not None:
        low, high = _x(effect.low, half_axis), _x(effect.high, half_axis)
        boxes = [
            _box("bar", low, high - low, paint),
            *(_box("end", x, None, paint) for x in (low, high)),
        ]
    return [*boxes, _box("point", _x(effect.estimate, half_axis), None, paint)]


def _short(text: str) -> str:
    return html.escape(text if len(text) <= 140 else text[:139] + "…")


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
