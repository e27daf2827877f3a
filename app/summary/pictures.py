"""Images from results/<arm>/images.png, which are in git: the true object and reconstructions.

The page contains re-encoded panels, never the bytes of a file.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

import streamlit as st
from PIL import Image

from app import load
from app.fragments import show_error
from study.evidence.evaluable import NOT_EVALUABLE
from study.evidence.images import CHANNELS, NAME, Facts, blank_channels, read_images
from study.evidence.model import ArmFinding, Findings
from study.settings import Reference, UserError

MOST_ARMS = 4
REFERENCES = ("back_projection", "rpie")  # prefixes of the names of their sources


@dataclass(frozen=True)
class Panel:
    """One column of the row: amplitude and phase, as PNG, of an arm or of its true object.

    `is_truth`: whether it is the true object of the arms that follow. `blank`: channels without a
    score, with the reason.
    """

    arm: str
    is_truth: bool
    images: Mapping[str, bytes]
    note: str
    blank: Sequence[str]


def chosen(found: Findings) -> list[str]:
    """The arms of the row, as far as they have results in this pipeline: the control, the network
    of the last headline goal that was reached, and the references with the most steps."""
    rows = load.rows()
    here = [name for name in rows if "/" not in name and name in load.results()]
    trained = [name for name in here if not isinstance(rows[name], Reference)]
    reached = [
        name
        for claim in map(found.claims.__getitem__, reversed(found.headline))
        if claim.word == "reached" and (name := claim.contrast.treatment) in trained
    ]
    references = []
    for kind in REFERENCES:
        sources = {name: row.source for name in here if isinstance(row := rows[name], Reference)}
        of_kind = [name for name, source in sources.items() if source.name.startswith(kind)]
        references += sorted(of_kind, key=lambda name: getattr(sources[name], "steps", 0))[-1:]
    return list(dict.fromkeys([*trained[:1], *reached[:1], *references]))[:MOST_ARMS]


def panels(arms: Mapping[str, ArmFinding | None], problems: list[str]) -> list[Panel]:
    """The columns of the row; arms with the same true object follow it.

    `arms`: name -> finding or None; the finding determines the channels without a score. For a
    damaged file, a message is appended to `problems`; arms without a file are omitted.
    """
    row: list[Panel] = []
    last = None
    for arm in arms:
        try:
            facts, images = read_images(load.ROOT / "results" / arm / NAME, load.ROOT)
        except FileNotFoundError:
            continue
        except UserError as error:
            problems.append(str(error))
            continue
        for name in facts.panels:
            content = {channel: _png(images[name, channel]) for channel in CHANNELS}
            is_truth = name == "truth"
            if is_truth and content == last:
                continue
            last = content if is_truth else last
            finding = None if is_truth else arms[arm]
            blank = [] if finding is None else blanks(finding, facts)
            row.append(Panel(arm, is_truth, content, _note(facts), blank))
    return row


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, format="PNG")
    return out.getvalue()


def blanks(arm: ArmFinding, facts: Facts) -> list[str]:
    """The channels of the shown seed without a score, such as `phase not evaluable: REASON`."""
    return [f"{c} {NOT_EVALUABLE}: {why}" for c, why in blank_channels(arm, facts).items()]


def _note(facts: Facts) -> str:
    (low, high), (least, most) = facts.amplitude, facts.phase
    return (
        f"seed {facts.seed}, amplitude {low:.3g} to {high:.3g} object units, phase {least:.2f} to "
        f"{most:.2f} rad"
    )


# --- on the page ------------------------------------------------------------------------------


def show(found: Findings) -> None:
    """Draw the row; a click on an image opens the arm in Compare."""
    row = _row({arm: found.arms[arm] for arm in chosen(found) if arm in found.arms})
    if not row:
        st.info("There are no images in results/; run `make repro` to create them.")
        return
    st.html(page(row))
    st.caption(
        "Amplitude (top) and phase (bottom), from the images in git (8 bit, at most 84 px). Each "
        "arm is represented by the run with the median validation loss and follows its true test "
        "object, whose range sets the grey levels. Click an image to open the arm in Compare."
    )


def committed(arms: Sequence[str]) -> None:
    """Draw the committed images of arms whose reconstructions are not in this checkout."""
    found = load.findings()
    known = {} if found is None else found.arms
    if row := _row({arm: known.get(arm) for arm in arms}):
        st.caption("From git: 8 bit, at most 84 px; each arm follows its true test object.")
        st.html(page(row))


def _row(arms: Mapping[str, ArmFinding | None]) -> list[Panel]:
    problems: list[str] = []
    row = panels(arms, problems)
    for sentence in problems:
        show_error(UserError(sentence))
    return row


def page(row: Sequence[Panel]) -> str:
    """The row of images as HTML."""
    return f'{STYLE}<div class="arm-pictures">{"".join(_one(panel) for panel in row)}</div>'


def _one(panel: Panel) -> str:
    """One column as HTML. Text is escaped; the PNG bytes are re-encoded from checked pixels."""
    name = "truth" if panel.is_truth else panel.arm
    address = "compare?" + urlencode({"arms": panel.arm, "tab": "Images"})
    images = "".join(
        f'<img src="data:image/png;base64,{base64.b64encode(content).decode()}" '
        f'alt="{html.escape(f"{channel} of {name}, {panel.note}")}">'
        for channel, content in panel.images.items()
    )
    small = "".join(f"<small>{html.escape(words)}</small>" for words in panel.blank)
    kind = "truth" if panel.is_truth else "arm"
    return (
        f'<figure class="{kind}"><a href="{html.escape(address)}" target="_self" '
        f'title="{html.escape(panel.note)}">{images}<figcaption>{html.escape(name)}{small}'
        "</figcaption></a></figure>"
    )


STYLE = """
<style>
  .arm-pictures { display: flex; flex-wrap: wrap; gap: 6px; font-size: 0.85rem; }
  .arm-pictures figure { margin: 0; width: 118px; }
  @media (min-width: 640px) { .arm-pictures .truth:not(:first-child) { margin-left: 14px; } }
  .arm-pictures a { color: inherit; text-decoration: none; display: block; }
  .arm-pictures a:hover figcaption { text-decoration: underline; }
  .arm-pictures img { width: 118px; height: 118px; object-fit: contain; image-rendering: pixelated;
    display: block; margin-bottom: 3px; }
  .arm-pictures figcaption { overflow-wrap: anywhere; line-height: 1.2; }
  .arm-pictures .truth figcaption { font-style: italic; }
  .arm-pictures small { display: block; }
</style>
"""
