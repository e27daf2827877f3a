"""Conventions found from the data."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from formats.scenes import Scene, scene

from study.formats.conventions import (
    Fit,
    Given,
    choices,
    clear,
    detect_values,
    distinct_turns,
    options,
    possible_shifts,
    possible_values,
    rotation,
    search,
    similarity,
)
from study.formats.orientation import (
    ALL_AXES,
    AS_STORED,
    Axes,
    arrange,
    inverse,
    matrix,
    turn,
)
from study.formats.trial import Convention, TrialScan, unwrapped


@pytest.fixture(scope="module")
def good() -> Scene:
    return scene()


def as_scan(given: Scene, **changes: np.ndarray) -> TrialScan:
    arrays = {"patterns": given.counts, "probe": given.probe, "positions_px": given.corners}
    return TrialScan(known=np.ones(given.counts.shape[1:], bool), **{**arrays, **changes})


def test_whole_numbers_are_counts_and_their_roots_amplitudes() -> None:
    drawn = np.random.default_rng(0).poisson(40, (5, 8, 8))
    assert detect_values(drawn) == "counts"
    assert detect_values(drawn.astype(np.float32)) == "counts"
    assert detect_values(np.sqrt(drawn).astype(np.float32)) == "amplitudes"
    assert detect_values(drawn / 7.3) is None
    assert possible_values(np.sqrt(drawn)) == ("amplitudes",)
    assert possible_values(drawn) == ("counts", "amplitudes")


@pytest.mark.parametrize("axes", ALL_AXES)
def test_axes_are_matrices_and_have_an_inverse(axes: Axes) -> None:
    stored = np.array([[1.0, 2.0], [3.0, 5.0]])
    assert np.array_equal(arrange(stored, *axes), stored @ matrix(axes).T)
    back = arrange(arrange(stored, *axes), *inverse(axes))
    assert np.array_equal(back, stored)


@pytest.mark.parametrize("n", [7, 8])
@pytest.mark.parametrize("axes", ALL_AXES)
def test_images_turn_as_positions_do(axes: Axes, n: int) -> None:
    place = np.array([[1.0, -2.0]])
    image, moved = np.zeros((2, n, n))
    image[tuple(place[0].astype(int) + n // 2)] = 1
    moved[tuple(arrange(place, *axes)[0].astype(int) + n // 2)] = 1
    assert np.array_equal(turn(image, axes), moved)
    assert np.array_equal(turn(turn(image, axes), inverse(axes)), image)


def test_turned_probes_are_told_apart_where_they_differ(good: Scene) -> None:
    assert distinct_turns(np.ones((8, 8), complex)) == [AS_STORED]
    assert len(distinct_turns(good.probe)) == 8
    shifted = np.roll(good.probe, (3, -2), axis=(0, 1))
    assert similarity(good.probe, 1j * shifted) == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize(
    ("values", "shift"), [("counts", (-3, 4)), ("amplitudes", (16, 16)), ("amplitudes", (12, 19))]
)
def test_values_and_zero_frequency_are_found(
    good: Scene, values: str, shift: tuple[int, int]
) -> None:
    stored = np.roll(good.counts, (-shift[0], -shift[1]), axis=(1, 2)).astype(float)
    stored = stored if values == "counts" else np.round(np.sqrt(stored))
    fits = search(as_scan(good, patterns=stored), Given())
    assert clear(fits, 32)[0]
    assert fits[0].convention.values == values
    assert np.array_equal(np.mod(fits[0].convention.shift, 32), np.mod(shift, 32))


@pytest.mark.slow
@pytest.mark.parametrize("axes", ALL_AXES)
def test_the_orientation_of_frames_is_found(good: Scene, axes: Axes) -> None:
    fits = search(as_scan(good, patterns=turn(good.counts, axes)), Given())
    found = fits[0].convention
    assert clear(fits, 32)[0]
    assert (found.frames, found.probe, found.positions) == (inverse(axes), AS_STORED, AS_STORED)


@pytest.mark.slow
@pytest.mark.parametrize("axes", ALL_AXES[1::2])
def test_an_asymmetric_probe_tells_that_positions_are_read_otherwise(
    good: Scene, axes: Axes
) -> None:
    fits = search(as_scan(good, positions_px=arrange(good.corners, *axes)), Given())
    found = fits[0].convention
    assert clear(fits, 32)[0]
    assert (found.frames, found.probe, found.positions) == (AS_STORED, AS_STORED, inverse(axes))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("frames", "positions"), [*itertools.product(ALL_AXES[1:4:2], ALL_AXES[2:7:2])]
)
def test_with_a_symmetric_probe_only_the_relative_orientation_counts(
    frames: Axes, positions: Axes
) -> None:
    round_ = scene(symmetric=True)
    stored = as_scan(
        round_,
        patterns=turn(round_.counts, frames),
        positions_px=arrange(round_.corners, *positions),
    )
    fits = search(stored, Given())
    assert clear(fits, 32)[0]
    found = fits[0].convention
    relative = matrix(found.frames) @ matrix(frames)
    assert found.positions == AS_STORED, "the axes of the positions are taken as given"
    assert np.array_equal(relative, matrix(positions))


def test_what_is_given_is_not_searched(good: Scene) -> None:
    fixed = Given("counts", (0, 0), None, ("xy", "none"), AS_STORED)
    assert fixed.complete
    assert [fit.convention.frames for fit in search(as_scan(good), fixed)] == [("xy", "none")]
    some = Given(values="amplitudes", frames=AS_STORED)
    tried = {(f.convention.values, f.convention.frames) for f in search(as_scan(good), some)}
    assert tried == {("amplitudes", AS_STORED)}


def test_a_wrong_reading_alone_is_not_clear(good: Scene) -> None:
    wrong = Given("counts", (0, 0), None, ("xy", "none"), None)
    fits = search(as_scan(good, patterns=np.random.default_rng(1).permutation(good.counts)), wrong)
    assert not clear(fits, 32)[0]


def test_patterns_that_do_not_overlap_decide_nothing(good: Scene) -> None:
    fits = search(as_scan(good, positions_px=good.corners * 50), Given())
    assert not clear(fits, 32)[0]


def test_the_table_has_one_row_per_solution() -> None:
    same = Convention("counts", (0, 0))
    rows = [
        Fit(same, 0.1),
        Fit(Convention("counts", (0, 0), ("yx", "both")), 0.1),
        Fit(Convention("counts", (2, -1)), 0.1),
        Fit(Convention("amplitudes", (0, 0)), 0.2),
        Fit(Convention("counts", (16, 16)), 0.3),
        Fit(Convention("counts", (0, 0), ("xy", "none")), 0.4),
    ]
    table = choices(rows, 32)
    assert [fit.misfit for fit in table] == [0.1, 0.2, 0.3]
    assert clear(rows, 32) == (True, table[1])
    close = [Fit(same, 0.19), *rows[3:]]
    assert not clear(close, 32)[0]
    assert "--zero-frequency corner --beam-offset 1 -2" in options(
        Convention("counts", (15, 18)), 32
    )


def test_a_shift_hides_what_it_moves_past_an_edge() -> None:
    known = unwrapped(np.ones((8, 8), bool), (-2, 1))
    expected = np.ones((8, 8), bool)
    expected[6:], expected[:, :1] = False, False
    assert np.array_equal(known, expected)
    assert unwrapped(np.ones((8, 8), bool), (4, 4)).all()


def test_a_hidden_beam_is_found_by_its_surroundings(good: Scene) -> None:
    known = np.ones((32, 32), bool)
    known[15:17] = False
    hidden = TrialScan(np.where(known, good.counts, 0), known, good.probe, good.corners)
    assert possible_shifts(hidden, "counts", Given())[0] == (0, 0)
    fits = search(hidden, Given())
    assert clear(fits, 32)[0]
    assert fits[0].convention == Convention("counts", (0, 0))


@pytest.mark.parametrize("degrees", [0.0, 5.0])
def test_turned_scan_axes_are_noticed(good: Scene, degrees: float) -> None:
    sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    stored = good.corners @ np.array([[cosine, -sine], [sine, cosine]]).T
    scan = as_scan(good, positions_px=stored)
    found = rotation(scan, Fit(Convention("counts", (0, 0)), 0.2))
    assert (found is None) == (degrees == 0)
    if found is not None:
        assert abs(found.degrees - degrees) <= 3


@pytest.mark.slow
def test_five_hundred_large_patterns_take_less_than_half_a_minute() -> None:
    large = scene(n=128, count=500)
    began = time.process_time()
    fits = search(as_scan(large), Given())
    assert time.process_time() - began < 30
    assert clear(fits, 128)[0]
    assert fits[0].convention == Convention("counts", (0, 0))
