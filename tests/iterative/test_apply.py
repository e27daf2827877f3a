from __future__ import annotations

import resource
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from study.formats.dataset import Dataset
from study.iterative.apply import reconstruct_rpie
from study.optics.assembly import hold_out
from study.runs import environment
from study.settings import UserError


def test_patterns_that_were_held_out_are_not_seen(tiny: Dataset) -> None:
    test = tiny.splits["test"]
    left_out = hold_out(len(test.counts)).numpy()
    counts = test.counts.copy()
    counts[left_out] = counts[left_out][::-1]
    swapped = replace(tiny, splits={**tiny.splits, "test": replace(test, counts=counts)})
    first, second = (reconstruct_rpie(dataset, 3, 0.1) for dataset in (tiny, swapped))
    assert np.array_equal(first.reconstruction.object, second.reconstruction.object)
    assert first.r_factor_fitted == second.r_factor_fitted
    assert first.r_factor_held_out != second.r_factor_held_out


def test_more_passes_fit_better_and_predict_better(variant: Callable[..., Dataset]) -> None:
    steps = {"train": 8, "validation": 8, "test": 4}
    dataset = variant(scan={"kind": "raster", "stride_px": steps})
    few, many = (reconstruct_rpie(dataset, passes, 0.1) for passes in (1, 20))
    assert few.r_factor_fitted is not None
    assert many.r_factor_fitted is not None
    assert few.r_factor_held_out is not None
    assert many.r_factor_held_out is not None
    assert many.r_factor_fitted < few.r_factor_fitted / 2
    assert many.r_factor_fitted < many.r_factor_held_out < few.r_factor_held_out / 2


def test_r_per_pass_leads_to_the_fitted_one(tiny: Dataset) -> None:
    done = reconstruct_rpie(tiny, 10, 0.1)
    assert len(done.passes) == 10
    assert done.r_factor_fitted is not None
    assert done.r_factor_fitted < done.passes[-1] < done.passes[0]


def test_the_probe_is_refined_where_it_was_measured(tiny: Dataset, as_measured: Dataset) -> None:
    assert np.array_equal(reconstruct_rpie(tiny, 1, 0.1).reconstruction.probe, tiny.probe)
    refined = reconstruct_rpie(as_measured, 1, 0.1).reconstruction.probe
    assert not np.array_equal(refined, as_measured.probe)
    kept = reconstruct_rpie(as_measured, 1, 0.1, update_probe=False).reconstruction.probe
    assert np.array_equal(kept, as_measured.probe)


@pytest.mark.parametrize(("passes", "alpha"), [(0, 0.1), (5, 0.0), (5, 1.5), (5, float("nan"))])
def test_settings_outside_their_range_are_refused(tiny: Dataset, passes: int, alpha: float) -> None:
    with pytest.raises(UserError, match=r"rpie\.(passes|alpha)"):
        reconstruct_rpie(tiny, passes, alpha)


def test_an_object_beyond_the_free_memory_is_refused_unmade(
    tiny: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = tiny.splits["test"]
    positions = test.positions_px.copy()
    positions[0] = 19_000.0
    far = replace(test, positions_px=positions, object_shape=(19_016, 19_016))
    monkeypatch.setattr(environment, "memory", lambda: 8e9)
    began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match="19016 x 19016 px"):
        reconstruct_rpie(replace(tiny, splits={**tiny.splits, "test": far}), 1, 0.1)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - began < 1e6  # kB; it takes 17 GB


@pytest.mark.parametrize("corner", [-1.0, 50.0])
def test_windows_outside_the_object_are_refused(tiny: Dataset, corner: float) -> None:
    test = tiny.splits["test"]
    positions = test.positions_px.copy()
    positions[3] = corner
    outside = replace(test, positions_px=positions)
    with pytest.raises(UserError, match="windows"):
        reconstruct_rpie(replace(tiny, splits={**tiny.splits, "test": outside}), 1, 0.1)
