"""The foreign-phase test set: one object's amplitude with another one's phase, measured alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from study.formats.dataset import Dataset
from study.settings import DataParams, UserError
from study.simulate import simulate
from study.simulate.foreign import copied_phase, with_foreign_phase
from study.simulate.objects import phase_of


def spread(a: np.ndarray, b: np.ndarray) -> float:
    """Standard deviation of (a - b) / sqrt(a + b): 1 for two Poisson draws of one mean."""
    a, b = a.astype(float), b.astype(float)
    bright = a + b > 50
    return float(np.std((a - b)[bright] / np.sqrt((a + b)[bright])))


def truth(dataset: Dataset, split: str = "test") -> np.ndarray:
    obj = dataset.splits[split].obj
    assert obj is not None
    return obj


def foreign(dataset: Dataset) -> Dataset:
    found = with_foreign_phase(dataset)
    assert found is not None
    return found


def test_the_amplitude_stays_and_the_phase_is_that_of_the_validation_object(tiny: Dataset) -> None:
    obj = truth(foreign(tiny))
    assert np.allclose(np.abs(obj), np.abs(truth(tiny)), rtol=1e-6)
    assert np.allclose(np.angle(obj), np.angle(truth(tiny, "validation")), atol=1e-6)


def test_an_objects_own_phase_gives_the_stored_light_with_other_noise(tiny: Dataset) -> None:
    validation = replace(tiny.splits["validation"], obj=truth(tiny))
    same = foreign(replace(tiny, splits={**tiny.splits, "validation": validation}))
    stored, again = (each.splits["test"].all_counts() for each in (tiny, same))
    assert not np.array_equal(stored, again)
    assert spread(stored, again) == pytest.approx(1, abs=0.03)
    assert spread(stored, foreign(tiny).splits["test"].all_counts()) > 2


def test_everything_but_the_test_split_is_left_as_it_is(tiny: Dataset) -> None:
    made = foreign(tiny)
    assert made.splits["train"] is tiny.splits["train"]
    assert made.manifest is tiny.manifest and made.probe is tiny.probe
    test = made.splits["test"]
    assert test.positions_px is tiny.splits["test"].positions_px
    assert test.stride_px == tiny.splits["test"].stride_px


def test_groups_and_several_images_have_a_foreign_phase(grouped: Dataset) -> None:
    counts = foreign(grouped).splits["test"].all_counts()
    assert counts.shape == grouped.splits["test"].counts.shape


def test_the_true_probe_makes_the_counts_whatever_the_methods_are_told(
    tiny: Dataset, tiny_params: DataParams
) -> None:
    disk = {"kind": "ideal_disk", "smooth_sigma_px": 0.5}
    given = {**tiny_params.model_dump(), "assumed_probe": disk}
    message = simulate("tiny", DataParams.model_validate(given))
    a, b = (foreign(each).splits["test"].all_counts() for each in (message, tiny))
    # The stored single precision probe and the double precision one differ by 1e-7.
    assert np.abs(a.astype(float) - b).mean() < 0.05 * np.sqrt(b.mean())


def test_without_a_phase_there_is_nothing_to_copy(tiny: Dataset, tiny_params: DataParams) -> None:
    assert (
        with_foreign_phase(simulate("flat", tiny_params.model_copy(update={"phase": False})))
        is None
    )
    imported = tiny.manifest.model_copy(update={"kind": "imported", "request": {"phase": True}})
    assert with_foreign_phase(replace(tiny, manifest=imported)) is None


def test_a_manifest_without_parameters_is_a_sentence(tiny: Dataset) -> None:
    torn = tiny.manifest.model_copy(update={"request": {"phase": True}})
    with pytest.raises(UserError, match="manifest of data set tiny"):
        with_foreign_phase(replace(tiny, manifest=torn))


def test_the_copied_phase_is_the_published_function(tiny: Dataset) -> None:
    obj = truth(tiny)
    assert np.allclose(copied_phase(obj), obj, atol=1e-5)
    scaled = np.abs(obj).astype(np.float64)
    assert np.allclose(np.angle(copied_phase(1j * obj)), phase_of(scaled), atol=1e-6)
