"""Data: measured and simulated data sets, and the arms that use them."""

from dataclasses import replace

import streamlit as st

from app import choose, layout, load
from app.dataset import reading, sets, views
from app.fragments import fragment
from study.settings import SPLITS

layout.enter("Data", "Measured and simulated data sets, and the arms that use them.")
found = sets.entries()
if not found:
    st.info("No data set in this checkout. `make repro` simulates one; `study import` reads yours.")
    st.stop()
left, right = st.columns([2, 3], vertical_alignment="bottom")
with left:
    name = choose.one("Data set", list(found), "data")
    entry = found[name or next(iter(found))]
    if entry.seeds:
        seed = choose.one("Objects of seed", [str(seed) for seed in entry.seeds], "object")
        entry = replace(entry, seed=int(seed or entry.seeds[0]))
if not entry.here:
    views.absent(entry)
    st.stop()
manifest = load.manifest(entry.folder)
with right:
    split = choose.one("Split", SPLITS, "split", default="test") or "test"
    images = sets.images_of(manifest)
    image = 0
    if images > 1:
        image = int(choose.one("Image", [str(i) for i in range(images)], "image") or 0)
views.facts(manifest)
part = reading.part(entry.folder, split)
views.object_and_probe(part, manifest, min(image, images - 1), found.values())
st.subheader("Scan and patterns", anchor=False)
fragment(views.scan_and_patterns)(entry, part, manifest, split, image)
st.subheader("Independence of the splits", anchor=False)
views.split_checks(entry)
st.subheader("Used by", anchor=False)
views.used_by(entry, manifest.set_sha256)
with st.expander("Manifest: what was requested, scales, statements, hashes"):
    views.manifest_table(manifest)
