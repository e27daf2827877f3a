"""object_*.npz: round trip and refusals."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.formats.reconstruction import Reconstruction, load_reconstruction, save_reconstruction
from study.settings import UserError


def made(images: int = 1, height: int = 5, width: int = 6, shown: int = 2) -> Reconstruction:
    generator = np.random.default_rng(0)
    real = generator.standard_normal((images, height, width))
    return Reconstruction(
        object=(real + 1j * real[::-1]).astype(np.complex64),
        region=np.array([3, 4, 3 + height, 4 + width]),
        r_factor=np.array([0.25, np.nan, 0.5, 0.75], np.float32),
        predicted_amplitude=generator.random((shown, 4, 4)).astype(np.float16),
        shown=np.arange(shown),
        distinct=True,
        checkpoint="best",
        epoch=7,
        probe=np.full((4, 4), 1 + 2j, np.complex64),
    )


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(0, 4))
def test_a_reconstruction_comes_back_equal(
    tmp_path_factory: pytest.TempPathFactory, images: int, height: int, width: int, shown: int
) -> None:
    result = made(images, height, width, shown)
    path = tmp_path_factory.mktemp("runs") / "object_best.npz"
    save_reconstruction(path, result)
    back = load_reconstruction(path)
    for item in fields(Reconstruction):
        mine, other = getattr(result, item.name), getattr(back, item.name)
        assert type(mine) is type(other)
        assert np.array_equal(mine, other, equal_nan=item.name == "r_factor")


def test_contradicting_arrays_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "object_best.npz"
    for wrong in (
        replace(made(), region=np.array([0, 0, 5, 5])),
        replace(made(), shown=np.arange(65), predicted_amplitude=np.zeros((65, 4, 4), np.float16)),
    ):
        with pytest.raises(ValueError, match=r"object_best.npz holds"):
            save_reconstruction(path, wrong)
    assert not path.exists()


def test_absent_torn_and_foreign_files_are_told(tmp_path: Path) -> None:
    path = tmp_path / "object_best.npz"
    with pytest.raises(UserError, match="does not exist"):
        load_reconstruction(path)
    save_reconstruction(path, made())
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match="torn"):
        load_reconstruction(path)
    np.savez(path, object=np.zeros((1, 2, 2), np.complex64))
    with pytest.raises(UserError, match="region"):
        load_reconstruction(path)
    arrays = {item.name: getattr(made(), item.name) for item in fields(Reconstruction)}
    np.savez(path, **{**arrays, "shown": np.array([0, 4])})
    with pytest.raises(UserError, match="patterns 0 to 4 of 4"):
        load_reconstruction(path)
    np.savez(path, **{**arrays, "shown": np.arange(3)})
    with pytest.raises(UserError, match=r"\(2, 4, 4\) predicted amplitudes for 3 patterns"):
        load_reconstruction(path)
