"""Arms: the arms with their seeds and scores."""

import streamlit as st

from app import choose, escape, layout, load, numbers, views, waiting
from app.arms import build, chart, notices, standing, table
from app.arms.choice import choice, passes
from app.arms.rows import columns
from app.fragments import guarded
from app.runs import working

layout.enter("Arms", "The arms with their seeds and scores.")
arms = load.results()
if not arms:
    notices.empty()
else:
    guarded(standing.show)
working.refused()
waiting.arms(load.run_rows())
if not arms:
    st.stop()
chosen = choice(arms)
if chosen.asks:
    st.markdown(escape.markdown(chosen.asks))
rows = build.table(chosen.checkpoint)
names = [name for name in chosen.names if passes(rows[name], chosen.text)]
if not names:
    st.info(f"None of these {len(chosen.names)} arms matches this text.")
    st.stop()
fences = build.fenced(names, rows)
ticked = "tick" if choose.asked("tick") else "arms"  # as earlier addresses say it
selected = [name for name in choose.asked(ticked) if name in arms]
choose.tell_unknown("arm", arms, ticked)
line = st.container(horizontal=True, vertical_alignment="center", gap="medium")
bar = line.container(horizontal=True, vertical_alignment="center", gap="medium")
menus = line.container(horizontal=True, vertical_alignment="center", width="content")
shown = table.chosen_columns(columns(chosen.checkpoint), menus)
clicked = table.show(fences, shown, selected, st.query_params.get("sort", ""))
notices.bar(
    bar, len(names), len(chosen.names), len(fences), list(clicked.selected or ()), chosen.checkpoint
)
with menus:
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
    views.show("arms")
st.caption(
    "Mean over seeds ± half of its 95 % t interval, over all seeds unless n is given. Strips: one "
    "dot per seed, the bar is the interval of the mean, one axis per column within a data set (log "
    "where marked; arrows: values beyond the axis). Gap: final minus best. A number opens its "
    "definition, inputs and command. In the table, arrow keys move from cell to cell."
)
guarded(chart.show, [row for _, found in fences for row in found], shown)
notices.flags(names)
if clicked.number:
    numbers.ask(clicked.number)
