"""Objects as files for other programs: npz (all of them) and CXI (one, with probe and positions).

    npz   ARM_sSEED_object       complex, object units, as stitched
          ARM_sSEED_amplitude, _phase, _truth_amplitude, _truth_phase     as compared
          ARM_sSEED_region       [y0, x0, y1, x1] in object px
          ARM_sSEED_probe, about

    CXI   entry_1/image_1/data               the object (I, h, w), complex
          entry_1/image_1/process_1/command  the command that computes it again
          entry_1/probe_1/data               probe, dimensionless
          entry_1/sample_1/geometry_1/translation   metres, test split
          entry_1/truth_1/data               true object on the same region, if there is one
          entry_1/armature_1/{region_px, about}

Signs and units are those of study/formats/cxi.py, and the bytes depend only on the content.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import h5py
import numpy as np
import streamlit as st

from app import escape, export
from app.compare.scenes import Scene
from app.export import Facts
from study.formats import cxi

IMAGE = "entry_1/image_1"


def buttons(key: str, facts: Facts, scenes: Sequence[Scene]) -> None:
    """All objects as one npz; object, probe and positions of each as a CXI file."""
    with st.container(horizontal=True):
        export.button(key, facts, "npz", lambda: npz_file(scenes, facts), "application/x-npz")
        for one in scenes:
            export.button(
                f"{key}_{one.arm}",
                facts,
                "cxi",
                lambda one=one: cxi_file(one, facts),
                "application/x-hdf5",
                label=f"CXI {escape.markdown(one.arm)}",
                stem=f"{one.arm.replace('/', '_')}_s{one.seed}_{one.checkpoint}",
            )


def npz_file(scenes: Sequence[Scene], facts: Facts) -> bytes:
    """All objects and their truths, as plain arrays without pickled objects."""
    arrays: dict[str, np.ndarray] = {"about": np.array(facts.as_json())}
    for one in scenes:
        stem = f"{one.arm.replace('/', '_')}_s{one.seed}"
        arrays[f"{stem}_object"] = one.result.object
        arrays[f"{stem}_region"] = one.result.region
        arrays[f"{stem}_probe"] = one.result.probe
        for channel, image in one.images.items():
            arrays[f"{stem}_{channel}"] = image
        for channel, image in (one.truth or {}).items():
            arrays[f"{stem}_truth_{channel}"] = image
    out = io.BytesIO()
    np.savez_compressed(out, allow_pickle=False, **arrays)
    return out.getvalue()


def cxi_file(one: Scene, facts: Facts) -> bytes:
    """Object, probe and positions of one reconstruction."""
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        file["cxi_version"] = 160
        for group, kind in ((IMAGE, "NXdata"), *_groups()):
            file.require_group(group).attrs["NX_class"] = kind
        _image(file, one, facts)
        _scan(file, one)
        file[f"{cxi.OURS}/region_px"] = one.result.region
        file[f"{cxi.OURS}/about"] = facts.as_json()
    return out.getvalue()


def _groups() -> list[tuple[str, str]]:
    """The groups of a data set's file, but those of the frames."""
    return [(k, v) for k, v in cxi.CLASSES.items() if k not in (cxi.DETECTOR, "entry_1/data_1")]


def _image(file: h5py.File, one: Scene, facts: Facts) -> None:
    stored = file.create_dataset(f"{IMAGE}/data", data=one.result.object)
    stored.attrs["units"] = "object units"
    manifest = one.dataset.manifest
    size = file.create_dataset(
        f"{IMAGE}/pixel_size", data=manifest.geometry.object_pixel_m(manifest.n)
    )
    size.attrs.update({"units": "m", "nominal": manifest.nominal})
    file[f"{IMAGE}/data_space"] = "real"
    file[f"{IMAGE}/process_1/command"] = facts.command
    true = one.dataset.splits["test"].obj
    if true is not None:
        y0, x0, y1, x1 = (int(edge) for edge in one.result.region)
        file[cxi.TRUTH] = true[:, y0:y1, x0:x1]


def _scan(file: h5py.File, one: Scene) -> None:
    manifest = one.dataset.manifest
    energy = file.create_dataset(f"{cxi.SOURCE}/energy", data=manifest.geometry.energy_j)
    energy.attrs.update({"units": "J", "nominal": manifest.nominal})
    file[cxi.PROBE] = one.result.probe
    file[f"{cxi.SOURCE}/illumination"] = h5py.SoftLink(f"/{cxi.PROBE}")
    positions = one.dataset.splits["test"].positions_px.reshape(-1, 2)
    metres = positions[:, ::-1].astype(np.float64) * manifest.geometry.object_pixel_m(manifest.n)
    places = file.create_dataset(cxi.TRANSLATION, data=np.pad(metres, ((0, 0), (0, 1))))
    places.attrs["units"] = "m"
