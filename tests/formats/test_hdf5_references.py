"""References between HDF5 files in one folder, and the packings of detectors."""

from __future__ import annotations

from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest
from formats import hostile
from formats.hostile import DETECTOR

from study.formats.hdf5 import array_at, linked_files, open_hdf5
from study.formats.readers import files_of, read_raw
from study.settings import UserError

FRAMES = hostile.good_arrays("cxi")[f"{DETECTOR}/data"]
PACKINGS = {
    "bitshuffle": hdf5plugin.Bitshuffle(cname="none"),
    "bitshuffle and LZ4": hdf5plugin.Bitshuffle(cname="lz4"),
    "bitshuffle and Zstd": hdf5plugin.Bitshuffle(cname="zstd"),
    "LZ4": hdf5plugin.LZ4(),
    "Zstd": hdf5plugin.Zstd(),
    "Blosc": hdf5plugin.Blosc(),
}


def scan(folder: Path, frames: Path | None = None, how: str = "external link") -> Path:
    """A scan whose frames are in the file `frames`, beside it by default."""
    path, other = folder / "scan.cxi", frames or folder / "frames.h5"
    hostile.write_cxi(path, hostile.good_arrays("cxi"))
    hostile.write_cxi(other, hostile.good_arrays("cxi"))
    with h5py.File(path, "r+") as file:
        hostile.point_elsewhere(file, f"{DETECTOR}/data", Path(other.name), how)
    return path


@pytest.mark.parametrize("how", ["external link", "virtual"])
def test_frames_in_a_file_beside_the_scan_are_read(tmp_path: Path, how: str) -> None:
    path = scan(tmp_path, how=how)
    assert np.array_equal(read_raw(path).patterns[:], FRAMES)
    assert linked_files(path) == [path, tmp_path / "frames.h5"]


@pytest.mark.parametrize("how", ["external link", "virtual"])
def test_a_missing_file_is_named(tmp_path: Path, how: str) -> None:
    path = scan(tmp_path, how=how)
    (tmp_path / "frames.h5").unlink()
    with pytest.raises(UserError, match=r"frames\.h5.*missing"):
        read_raw(path)


@pytest.mark.parametrize("target", ["../frames.h5", "link.h5"])
@pytest.mark.parametrize("how", ["external link", "virtual"])
def test_no_path_or_link_leaves_the_folder(tmp_path: Path, how: str, target: str) -> None:
    folder = tmp_path / "scan"
    folder.mkdir()
    path = scan(folder, tmp_path / "frames.h5")
    (folder / "link.h5").symlink_to(tmp_path / "frames.h5")
    with h5py.File(path, "r+") as file:
        del file[f"{DETECTOR}/data"]
        file[f"{DETECTOR}/data"] = FRAMES
        hostile.point_elsewhere(file, f"{DETECTOR}/data", Path(target), how)
    with pytest.raises(UserError, match=target):
        read_raw(path)


def test_a_file_that_is_linked_may_not_leave_the_folder_either(tmp_path: Path) -> None:
    folder = tmp_path / "scan"
    folder.mkdir()
    path = scan(folder)
    hostile.write_cxi(tmp_path / "secret.h5", hostile.good_arrays("cxi"))
    with h5py.File(folder / "frames.h5", "r+") as file:
        hostile.point_elsewhere(file, f"{DETECTOR}/data", Path("../secret.h5"), "external link")
    with pytest.raises(UserError, match="secret"):
        read_raw(path)


def test_files_that_link_to_each_other_are_read_once(tmp_path: Path) -> None:
    path = scan(tmp_path)
    with h5py.File(tmp_path / "frames.h5", "r+") as file:
        file["back"] = h5py.ExternalLink("scan.cxi", "/")
    assert len(linked_files(path)) == 2


@pytest.mark.parametrize("lost", ["a part of the map", "a part of the source", "the source"])
def test_a_virtual_array_with_values_that_nothing_holds_is_refused(
    tmp_path: Path, lost: str
) -> None:
    """HDF5 would put zeros in their place, which look like dark frames."""
    path, half = scan(tmp_path), len(FRAMES) // 2
    with h5py.File(path, "r+") as file:
        del file[f"{DETECTOR}/data"]
        layout = h5py.VirtualLayout(FRAMES.shape, FRAMES.dtype)
        source = h5py.VirtualSource("frames.h5", f"{DETECTOR}/data", FRAMES.shape)
        layout[:half] = source[:half]
        if lost != "a part of the map":
            layout[half:] = source[half:]
        file.create_virtual_dataset(f"{DETECTOR}/data", layout)
    with h5py.File(tmp_path / "frames.h5", "r+") as file:
        if lost != "a part of the map":
            del file[f"{DETECTOR}/data"]
        if lost == "a part of the source":
            file[f"{DETECTOR}/data"] = FRAMES[:half]
    with pytest.raises(UserError, match=r"virtual|hold"):
        read_raw(path)


@pytest.mark.parametrize("packing", PACKINGS)
def test_packings_of_detectors_are_read(tmp_path: Path, packing: str) -> None:
    path = tmp_path / "packed.h5"
    for dtype in ("u1", "u2", "u4", "f4"):
        with h5py.File(path, "w") as file:
            file.create_dataset(
                "a", data=FRAMES.astype(dtype), chunks=(1, 8, 8), **PACKINGS[packing]
            )
        with open_hdf5(path) as file:
            assert np.array_equal(array_at(file, "a"), FRAMES.astype(dtype))


@pytest.mark.parametrize("userblock", [0, 512])
@pytest.mark.parametrize("packing", [name for name in PACKINGS if name != "bitshuffle"])
def test_a_chunk_that_states_more_than_the_array_is_refused(
    tmp_path: Path, packing: str, userblock: int
) -> None:
    """The chunk of a large array, put into a small one: HDF5 alone would unpack all of it."""
    path = tmp_path / "bomb.h5"
    with h5py.File(path, "w", userblock_size=userblock) as file:
        for name, length in (("large", 2**16), ("small", 2**10)):
            file.create_dataset(name, (length,), "u4", chunks=(length,), **PACKINGS[packing])
        file["large"][...] = 1
        content = file["large"].id.read_direct_chunk((0,))[1]
        file["small"].id.write_direct_chunk((0,), content)
    with open_hdf5(path) as file:
        assert array_at(file, "large").all()
        with pytest.raises(UserError, match="unpacks to more"):
            array_at(file, "small")


def test_two_packings_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "packed.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=FRAMES, chunks=(1, 8, 8), **hdf5plugin.BZip2())
    with open_hdf5(path) as file, pytest.raises(UserError, match="filter 307"):
        array_at(file, "a")


@pytest.mark.parametrize("folder_links", [False, True])
def test_a_deep_file_is_refused_before_its_levels_are_walked(
    tmp_path: Path, folder_links: bool
) -> None:
    """Each level costs a walk from the root: 4,000 of them took minutes."""
    path = tmp_path / "deep.h5"
    with h5py.File(path, "w", libver="latest") as file:
        group = file.create_group("g")
        for _ in range(4000):
            group = group.create_group("g")
    with pytest.raises(UserError, match="64 levels deep"), open_hdf5(path, folder_links):
        pass


def pair(folder: Path) -> None:
    folder.mkdir()
    y, x = 3e-8 * np.mgrid[:4, :4].reshape(2, -1)
    with h5py.File(folder / "a_dp.hdf5", "w") as file:
        file["dp"] = np.ones((16, 8, 8))
    with h5py.File(folder / "a_para.hdf5", "w") as file:
        file["probe"] = np.ones((1, 1, 8, 8), np.complex64)
        file["probe"].attrs.update(pixel_height_m=1e-8, pixel_width_m=1e-8)
        file["probe_position_y_m"], file["probe_position_x_m"] = y, x


@pytest.mark.parametrize("name", ["a_dp.hdf5", "a_para.hdf5"])
def test_the_other_half_of_a_pair_is_no_link_to_another_folder(tmp_path: Path, name: str) -> None:
    other = "a_dp.hdf5" if "para" in name else "a_para.hdf5"
    folder, elsewhere, links = (tmp_path / part for part in ("scan", "elsewhere", "links"))
    pair(folder)
    for each in (elsewhere, links):
        each.mkdir()
    for half in (name, other):  # links to two files of one folder
        (links / half).symlink_to(folder / half)
    assert len(read_raw(links / name).patterns) == 16
    assert len(files_of(links / name)) == 2
    (folder / other).rename(elsewhere / other)
    (folder / other).symlink_to(elsewhere / other)
    for read in (read_raw, files_of):
        with pytest.raises(UserError, match=rf"{other} is a link to .*elsewhere"):
            read(folder / name)
