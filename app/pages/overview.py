"""Overview: which arms were run, with how many seeds, and what they reached."""

import streamlit as st

from app import choose, escape, frame, load, numbers
from app.overview import build, standing, table, warn
from app.overview.choice import choice
from app.overview.rows import columns

frame.enter("Overview", "Which arms were run, with how many seeds, and what they reached.")
arms = load.results()
if not arms:
    warn.empty()
    st.stop()
standing.show()
chosen = choice(arms)
if chosen.asks:
    st.markdown(escape.markdown(chosen.asks))
rows, records = build.table(chosen.checkpoint)
names = [name for name in chosen.names if chosen.passes(records[name])]
if not names:
    st.info(f"None of these {len(chosen.names)} arms matches the query.")
    st.stop()
fences = build.fenced(names, rows)
selected = [name for name in choose.asked("arms") if name in arms]
choose.tell_unknown("arm", arms, "arms")
bar = st.container(horizontal=True, vertical_alignment="center", gap="medium")
shown = columns(chosen.checkpoint)
clicked = table.show(fences, shown, selected)
warn.bar(
    bar, len(names), len(chosen.names), len(fences), list(clicked.selected or ()), chosen.checkpoint
)
with bar:
    st.download_button(
        "Table as CSV",
        table.as_csv([row for _, found in fences for row in found], shown),
        "arms.csv",
        "text/csv",
        key="arms-csv",
        icon=":material/download:",
        type="tertiary",
        on_click="ignore",
    )
st.caption(
    "Mean over seeds ± half of its 95 % t interval. Strips: one dot a seed, the bar is the "
    "interval of the mean, one axis a column within a data set (log where it says so). Gap: final "
    "minus best. A number opens its definition, inputs and command."
)
warn.flags(names)
if clicked.number:
    numbers.ask(clicked.number)
