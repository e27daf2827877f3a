"""Data sets on disk: round trip, whole-or-nothing, checks."""

import json
import math
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from study.formats.dataset import (
    Dataset,
    Manifest,
    Split,
    content_hash,
    load_dataset,
    load_manifest,
    memory_share,
    save_dataset,
    verify_dataset,
)
from study.formats.frames import FramesOnDisk
from study.formats.geometry import Geometry
from study.formats.requests import check_request
from study.settings import SPLITS, DataParams, UserError
from study.simulate import simulate
from study.simulate.probes import focus


def equal(a: Split, b: Split) -> bool:
    same_object = (a.obj is None) == (b.obj is None) and (
        a.obj is None or np.array_equal(a.obj, b.obj)
    )
    return bool(
        same_object
        and a.counts.dtype == b.counts.dtype
        and np.array_equal(a.counts, b.counts)
        and np.array_equal(a.positions_px, b.positions_px)
        and np.array_equal(a.image_index, b.image_index)
        and (a.object_shape, a.stride_px) == (b.object_shape, b.stride_px)
    )


def test_a_saved_set_comes_back_bit_equal(tiny: Dataset, tmp_path: Path) -> None:
    save_dataset(tiny, tmp_path / "tiny")
    back = load_dataset(tmp_path / "tiny")
    assert back.manifest == tiny.manifest
    assert np.array_equal(back.probe, tiny.probe)
    assert all(equal(back.splits[split], tiny.splits[split]) for split in SPLITS)
    assert verify_dataset(tmp_path / "tiny") == tiny.manifest
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir()) == [
        "manifest.json",
        "test.cxi",
        "train.cxi",
        "validation.cxi",
    ]


def manifest_of(splits: dict[str, Split], probe: np.ndarray, group_size: int) -> Manifest:
    return Manifest(
        format_version=1,
        name="drawn",
        kind="imported",
        n=len(probe),
        group_size=group_size,
        patterns={name: len(split.counts) for name, split in splits.items()},
        photon_scale=1.5,
        probe_norm=0.1,
        object_norm=dict.fromkeys(splits, 1.0),
        photons_per_pattern=10.0,
        geometry=Geometry(energy_j=1e-15, distance_m=0.7, pixel_m=5.5e-5),
        nominal=False,
        request={"file": "drawn.npz"},
        statements=("drawn",),
        content_sha256=content_hash(probe, splits),
        code_version="0",
    )


@settings(deadline=None, max_examples=20)
@given(st.data())
def test_any_set_comes_back_bit_equal(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    n, group = data.draw(st.integers(1, 5)), data.draw(st.sampled_from([1, 4]))
    finite = st.floats(-1e4, 1e4, width=32)
    values = st.floats(0, 1e6, width=32) if data.draw(st.booleans()) else st.integers(0, 2**32 - 1)
    kind = np.float32 if "float" in repr(values) else np.uint32

    def split() -> Split:
        count = data.draw(st.integers(1, 3))
        obj = data.draw(arrays(np.float32, (2, 6, 7, 2), elements=finite))
        return Split(
            counts=data.draw(arrays(kind, (count, group, n, n), elements=values)),
            positions_px=data.draw(arrays(np.float32, (count, group, 2), elements=finite)),
            image_index=np.arange(count) % 2,
            obj=obj.view(np.complex64)[..., 0] if data.draw(st.booleans()) else None,
            object_shape=(6, 7),
            stride_px=data.draw(st.one_of(st.none(), st.integers(1, 9))),
        )

    splits = {name: split() for name in SPLITS}
    probe = data.draw(arrays(np.float32, (n, n, 2), elements=finite)).view(np.complex64)[..., 0]
    dataset = Dataset(manifest_of(splits, probe, group), probe, splits)
    folder = tmp_path_factory.mktemp("sets") / "drawn"
    save_dataset(dataset, folder)
    back = load_dataset(folder)
    assert back.manifest == dataset.manifest
    assert np.array_equal(back.probe, probe)
    assert all(equal(back.splits[name], splits[name]) for name in SPLITS)


@pytest.mark.slow
def test_the_bytes_depend_on_the_content_alone(tiny: Dataset, tmp_path: Path) -> None:
    save_dataset(tiny, tmp_path / "a")
    time.sleep(1.1)  # time stamps count whole seconds
    save_dataset(tiny, tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_one_split_can_be_loaded_alone(tiny: Dataset, tmp_path: Path) -> None:
    save_dataset(tiny, tmp_path / "tiny")
    back = load_dataset(tmp_path / "tiny", ("test",))
    assert list(back.splits) == ["test"]
    assert equal(back.splits["test"], tiny.splits["test"])


def test_a_failed_save_leaves_nothing(
    tiny: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(path: Path, value: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("study.formats.dataset.write_json", no_space)
    with pytest.raises(OSError, match="No space"):
        save_dataset(tiny, tmp_path / "tiny")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_never_overwritten(tiny: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    save_dataset(tiny, folder)
    before = (folder / "manifest.json").read_bytes()
    with pytest.raises(UserError, match="already exists"):
        save_dataset(tiny, folder)
    assert (folder / "manifest.json").read_bytes() == before


def test_the_same_request_passes(tiny: Dataset, tiny_params: DataParams, tmp_path: Path) -> None:
    save_dataset(tiny, tmp_path / "tiny")
    check_request(load_manifest(tmp_path / "tiny"), tiny_params)


def test_another_request_is_refused_with_every_differing_field(
    tiny: Dataset, tiny_params: DataParams
) -> None:
    other = tiny_params.model_dump()
    other["phase"] = False
    other["object_seeds"]["test"] = 9
    other["probe"] = {"kind": "ideal_disk", "smooth_sigma_px": 0}
    with pytest.raises(UserError) as caught:
        check_request(tiny.manifest, DataParams.model_validate(other))
    sentence = str(caught.value)
    assert "phase is True there and False in the request" in sentence
    assert "object_seeds.test is 2 there and 9 in the request" in sentence
    assert "probe.kind is focus there and ideal_disk in the request" in sentence
    assert "probe.aperture_px is 7.0 there and absent in the request" in sentence
    assert "noise_seed" not in sentence


@pytest.mark.parametrize("key", ["probe", "assumed_probe"])
def test_a_changed_probe_file_is_another_request(
    key: str, tiny_params: DataParams, tmp_path: Path
) -> None:
    path = tmp_path / "probe.npz"
    probe = {"kind": "file", "path": str(path), "fit": "pad", "smooth_sigma_px": 0}
    params = DataParams.model_validate({**tiny_params.model_dump(), key: probe})
    with pytest.raises(UserError, match=r"probe.npz does not exist"):
        simulate("filed", params)
    np.savez(path, probe=focus(16, 7.0, 0.0, 3.0))
    dataset = simulate("filed", params)
    check_request(dataset.manifest, params)
    np.savez(path, probe=focus(16, 7.0, 0.0, 2.0))
    with pytest.raises(UserError, match=rf" {key}.sha256 is \w+ there and \w+ in the request"):
        check_request(dataset.manifest, params)


def test_the_hash_sees_every_array(tiny: Dataset) -> None:
    whole = content_hash(tiny.probe, tiny.splits)
    test = tiny.splits["test"]
    for changed in (
        replace(test, counts=test.counts + np.uint32(1)),
        replace(test, positions_px=test.positions_px + np.float32(1)),
        replace(test, image_index=test.image_index + 1),
        replace(test, obj=None),
    ):
        assert content_hash(tiny.probe, {**tiny.splits, "test": changed}) != whole
    assert content_hash(tiny.probe * 2, tiny.splits) != whole


def saved(tiny: Dataset, tmp_path: Path) -> Path:
    save_dataset(tiny, tmp_path / "tiny")
    return tmp_path / "tiny"


def test_absent_and_torn_manifests_are_told(tiny: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent"):
        load_manifest(tmp_path / "nowhere")
    folder = saved(tiny, tmp_path)
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text[: len(text) // 2])
    with pytest.raises(UserError, match=r"manifest\.json"):
        load_dataset(folder)


def test_a_manifest_of_another_kind_is_told(tiny: Dataset, tmp_path: Path) -> None:
    folder = saved(tiny, tmp_path)
    given_manifest = json.loads((folder / "manifest.json").read_text())
    given_manifest["format_version"] = 2
    given_manifest["colour"] = "red"
    (folder / "manifest.json").write_text(json.dumps(given_manifest))
    with pytest.raises(UserError, match=r"format_version.*colour|colour.*format_version"):
        load_manifest(folder)


@pytest.mark.parametrize("key", ["patterns", "object_norm"])
def test_a_manifest_without_a_split_is_told(tiny: Dataset, tmp_path: Path, key: str) -> None:
    folder = saved(tiny, tmp_path)
    content = json.loads((folder / "manifest.json").read_text())
    del content[key]["test"]
    (folder / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"{key}.*lacks test"):
        load_dataset(folder)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.95])
def test_a_torn_split_is_told(tiny: Dataset, tmp_path: Path, share: float) -> None:
    folder = saved(tiny, tmp_path)
    content = (folder / "train.cxi").read_bytes()
    (folder / "train.cxi").write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"train.cxi is torn"):
        load_dataset(folder)
    (folder / "train.cxi").unlink()
    with pytest.raises(UserError, match=r"train.cxi does not exist"):
        load_dataset(folder)


def test_splits_of_two_sets_do_not_mix(tiny: Dataset, tmp_path: Path) -> None:
    folder = saved(tiny, tmp_path)
    (folder / "test.cxi").write_bytes((folder / "train.cxi").read_bytes())
    with pytest.raises(UserError, match=r"\(169, 16, 16\) but manifest.json says \(49, 16, 16\)"):
        load_dataset(folder)


def test_verify_finds_a_changed_pixel(tiny: Dataset, tmp_path: Path) -> None:
    folder = saved(tiny, tmp_path)
    with h5py.File(folder / "test.cxi", "r+") as file:
        file["entry_1/instrument_1/detector_1/data"][3, 2, 1] += 1
    with pytest.raises(UserError, match="was changed after it was written"):
        verify_dataset(folder)


# --- counts left on disk ----------------------------------------------------------------------


def on_disk(dataset: Dataset) -> dict[str, bool]:
    return {name: isinstance(s.counts, FramesOnDisk) for name, s in dataset.splits.items()}


def test_a_split_stays_on_disk_beyond_the_limit_alone(tiny: Dataset, tmp_path: Path) -> None:
    folder = saved(tiny, tmp_path)
    held = 8 * 49 * 16 * 16  # counts and amplitude of the validation and of the test split
    assert on_disk(load_dataset(folder, limit_bytes=held)) == {
        "train": True,
        "validation": False,
        "test": False,
    }
    assert all(on_disk(load_dataset(folder, limit_bytes=held - 1)).values())
    assert not any(on_disk(load_dataset(folder, limit_bytes=math.inf)).values())


def test_the_limit_is_a_share_of_the_memory_by_run(
    tiny: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(tiny, tmp_path)
    assert not any(on_disk(load_dataset(folder)).values())
    train = 8 * 169 * 16 * 16
    monkeypatch.setattr("study.runs.environment.memory", lambda: 4 * train)
    assert (memory_share(), memory_share(runs=2)) == (train, train / 2)
    assert not any(on_disk(load_dataset(folder)).values())
    monkeypatch.setattr("study.runs.environment.memory", lambda: 4 * train - 1)
    assert on_disk(load_dataset(folder))["train"]


@pytest.mark.parametrize("name", ["tiny", "grouped"])
def test_counts_on_disk_hash_verify_and_save_as_in_memory(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    dataset = request.getfixturevalue(name)
    save_dataset(dataset, tmp_path / "set")
    left = load_dataset(tmp_path / "set", limit_bytes=0)
    assert all(on_disk(left).values())
    assert content_hash(left.probe, left.splits) == dataset.manifest.content_sha256
    assert verify_dataset(tmp_path / "set") == dataset.manifest
    for split in SPLITS:
        read = replace(left.splits[split], counts=left.splits[split].all_counts())
        assert equal(read, dataset.splits[split])
    save_dataset(left, tmp_path / "again")
    for path in (tmp_path / "set").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_blocks_do_not_show_in_hash_or_file(
    tiny: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_dataset(tiny, tmp_path / "whole")
    monkeypatch.setattr("study.formats.frames.blocks.__defaults__", (5000,))
    assert content_hash(tiny.probe, tiny.splits) == tiny.manifest.content_sha256
    save_dataset(tiny, tmp_path / "parts")
    for path in (tmp_path / "whole").iterdir():
        assert path.read_bytes() == (tmp_path / "parts" / path.name).read_bytes()


def test_a_set_that_another_tool_compressed_is_read_as_well(tiny: Dataset, tmp_path: Path) -> None:
    folder = saved(tiny, tmp_path)
    data = "entry_1/instrument_1/detector_1/data"
    with h5py.File(folder / "train.cxi", "r+") as file:
        counts = file[data][()]
        del file[data]
        file.create_dataset(data, data=counts, chunks=(8, 16, 16), compression="gzip")
    for limit in (0, math.inf):
        back = load_dataset(folder, limit_bytes=limit)
        assert np.array_equal(back.splits["train"].all_counts(), tiny.splits["train"].counts)
