"""Provenance: status of the stages, missing artifacts, and origin of the results."""

import streamlit as st

from app import choose, layout, load
from app.fragments import guarded
from app.provenance import environments, machine, pulling, reading, views

layout.enter("Provenance", "Status of the stages, missing artifacts, and origin of the results.")
names = [views.TITLES.get(name, name) for name in load.pipeline_names()]
name = choose.one("Pipeline", names, "pipeline") or "root"
folder = "" if name == "root" else name


def stages() -> None:
    if not reading.declared(folder):
        st.info(
            "No pipeline here: dvc.yaml is not in this folder. `make repro` runs one in a checkout."
        )
        return
    contents = st.toggle("Compare the contents of runs and data sets too", key="contents",
                         bind="query-params")  # fmt: skip
    found = reading.judged(folder, contents)
    views.totals(found, contents)
    picture = st.container()
    kind = views.chosen_kind(found)
    with picture:
        views.graph(found, kind)
    if kind:
        views.stage_table(found, kind, folder)
    pulling.show(found, folder)


def results() -> None:
    st.subheader("Commits of the results", anchor=False)
    runs.extend(reading.runs(folder))
    if not runs:
        st.info("No results of this pipeline are stored here. `make repro` computes them.")
        return
    views.commits(runs, reading.history())
    st.subheader("Environment of the runs", anchor=False)
    views.environments_of(runs)


runs: list[environments.Run] = []
guarded(stages)
guarded(results)
st.subheader("This installation", anchor=False)
views.git_state(reading.history())
st.text(machine.container().sentence)
guarded(lambda: views.packages(reading.packages()))
if runs:
    views.versions(runs)
