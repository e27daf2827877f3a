"""Grid-lines objects: the published figures, and what their description implies."""

import numpy as np
import pytest

from study.simulate.objects import blur_and_mix, draw_lines, grid_lines, phase_of

FULL = {"images": 1, "object_px": 392, "canvas_px": 784, "lines": 400}


@pytest.mark.parametrize(("seed", "mean"), [(1, 2.6561), (2, 2.7521)])
def test_full_size_objects_have_the_published_mean(seed: int, mean: float) -> None:
    amplitude = np.abs(grid_lines(seed, phase=False, **FULL))
    assert amplitude.mean() == pytest.approx(mean, abs=5e-5)
    if seed == 2:
        assert amplitude.std() == pytest.approx(0.6860, abs=5e-5)
        assert amplitude.min() == pytest.approx(0.735, abs=5e-4)
        assert amplitude.max() == pytest.approx(4.937, abs=5e-4)


def test_phase_follows_the_amplitude_between_minus_0_7_and_0_9_rad() -> None:
    amplitude = np.abs(grid_lines(2, phase=False, **FULL))
    angle = np.angle(grid_lines(2, phase=True, **FULL))
    expected = np.pi * np.tanh((amplitude - amplitude.max() / 2) / (3 * amplitude.mean()))
    assert np.allclose(angle, expected)
    assert -0.7 < angle.min() < -0.6
    assert 0.88 < angle.max() < 0.95


def test_phase_scale_is_common_to_the_images_of_a_split() -> None:
    amplitude = np.stack([np.full((4, 4), 1.0), np.full((4, 4), 3.0)])
    low, high = phase_of(amplitude)[:, 0, 0]
    assert low == pytest.approx(np.pi * np.tanh((1 - 1.5) / 6))
    assert high == pytest.approx(np.pi * np.tanh((3 - 1.5) / 6))


def test_lines_are_one_pixel_wide_and_crossings_do_not_add_up() -> None:
    canvas = draw_lines(np.random.RandomState(0), 64, 30)
    assert set(np.unique(canvas)) == {0.0, 1.0}
    single = draw_lines(np.random.RandomState(0), 64, 1)
    r0, c0, r1, c1 = (int(64 * u) for u in np.random.RandomState(0).rand(4))
    assert single[r0, c0] == single[r1, c1] == 1
    assert single.sum() == max(abs(r1 - r0), abs(c1 - c0)) + 1


def test_blurs_keep_the_light_of_the_lines_eightfold() -> None:
    canvas = np.zeros((90, 90))
    canvas[30:60, 45] = 1
    assert blur_and_mix(canvas).sum() == pytest.approx(8 * canvas.sum())


def test_further_images_continue_the_stream() -> None:
    small = {"object_px": 32, "canvas_px": 64, "lines": 10, "phase": False}
    one, two = grid_lines(5, images=1, **small), grid_lines(5, images=2, **small)
    assert np.array_equal(one[0], two[0])
    assert not np.allclose(two[0], two[1])


def test_phase_off_and_no_lines_give_real_objects() -> None:
    empty = grid_lines(1, images=1, object_px=16, canvas_px=32, lines=0, phase=True)
    assert not empty.any()
    flat = grid_lines(1, images=1, object_px=16, canvas_px=32, lines=5, phase=False)
    assert not flat.imag.any()


# --- an independent phase ---------------------------------------------------------------------

QUICK = {"images": 1, "object_px": 100, "canvas_px": 500, "lines": 250}
SEEDS = range(1, 13)


def correlation(obj: np.ndarray) -> float:
    return float(np.corrcoef(np.abs(obj).ravel(), np.angle(obj).ravel())[0, 1])


def test_an_independent_phase_has_no_relation_to_the_amplitude_over_seeds() -> None:
    """An object has few independent blobs, so single seeds scatter by about 0.2 around zero."""
    found = np.array([correlation(grid_lines(s, phase="independent", **QUICK)) for s in SEEDS])
    copied = [correlation(grid_lines(s, phase=True, **QUICK)) for s in SEEDS]
    assert abs(found.mean()) < 4 * found.std(ddof=1) / np.sqrt(len(SEEDS))
    assert abs(found.mean()) < 0.2
    assert np.abs(found).max() < 0.7
    assert min(copied) > 0.95


def test_an_independent_phase_has_the_scale_of_the_published_one() -> None:
    spread = {
        phase: np.mean([np.angle(grid_lines(s, phase=phase, **QUICK)).std() for s in SEEDS])
        for phase in (True, "independent")
    }
    assert spread["independent"] == pytest.approx(spread[True], rel=0.2)


def test_the_kind_of_phase_leaves_the_amplitude_as_it_is() -> None:
    flat, copied, free = (grid_lines(3, phase=p, **QUICK) for p in (False, True, "independent"))
    assert np.allclose(np.abs(copied), flat.real, rtol=1e-12)
    assert np.allclose(np.abs(free), flat.real, rtol=1e-12)
    assert np.array_equal(copied, flat.real * np.exp(1j * phase_of(flat.real)))
    assert not np.allclose(np.angle(free), np.angle(copied), atol=0.1)


def test_images_and_seeds_have_independent_phases_of_their_own() -> None:
    size = {**QUICK, "images": 2, "phase": "independent"}
    one, other = np.angle(grid_lines(4, **size)), np.angle(grid_lines(5, **size))
    fields = [one[0], one[1], other[0], other[1]]
    for i, a in enumerate(fields):
        for b in fields[:i]:
            assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.7
