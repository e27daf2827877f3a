"""Measured scans become data sets: what is found, what is stated, what is refused."""

import bz2
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from checking import measured_star
from study.formats.dataset import Dataset, load_dataset, save_dataset, verify_dataset
from study.formats.importing import held_out, import_scan
from study.formats.npz import export_npz
from study.formats.orientation import ALL_AXES, arrange, turn
from study.settings import SPLITS, UserError

Writer = Callable[..., Path]

KNOWN = {
    "values": "counts",
    "zero_frequency": "corner",
    "frame_orientation": "as_stored",
    "position_order": "yx",
    "position_flip": "none",
}


def together(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Counts (J, n, n) and positions (J, 2) of all splits in the order of the file."""
    total = sum(dataset.manifest.patterns.values())
    members = held_out(total)
    n = dataset.manifest.n
    counts, positions = np.zeros((total, n, n)), np.zeros((total, 2))
    for split, index in members.items():
        counts[index] = dataset.splits[split].counts[:, 0]
        positions[index] = dataset.splits[split].positions_px[:, 0]
    return counts, positions


def agrees(imported: Dataset, source: Dataset) -> None:
    """The imported set holds the source's train scan, shifted or turned as a whole."""
    train = source.splits["train"]
    true = train.positions_px[:, 0].astype(np.float64)
    counts, positions = together(imported)
    fits = [
        np.allclose(counts, turn(train.counts[:, 0], axes), rtol=1e-5)
        and np.allclose(np.diff(positions - arrange(true, *axes), axis=0), 0, atol=1e-3)
        for axes in ALL_AXES
    ]
    assert any(fits)


def test_a_tike_file_is_read_with_its_conventions_found(
    tike_file: Writer, scanned: Dataset
) -> None:
    imported = import_scan(tike_file(), "star")
    agrees(imported, scanned)
    output = imported.manifest.statements
    assert output[:3] == (
        "layout: tike npz",
        "values: counts, found from the data",
        "zero frequency: corner, found from the data",
    )
    assert output[3] == "positions: (y, x), as stored"
    assert output[4].startswith("fit: misfit")
    assert imported.manifest.kind == "imported"
    assert imported.manifest.nominal


def test_swapped_and_centred_files_are_told_apart(tike_file: Writer, scanned: Dataset) -> None:
    train = scanned.splits["train"]
    path = tike_file(
        data=np.sqrt(train.counts[:, 0]), scan=train.positions_px[:, 0, ::-1] * [1, -1]
    )
    imported = import_scan(path, "star")
    agrees(imported, scanned)
    assert imported.manifest.statements[1:3] == (
        "values: amplitudes, found from the data",
        "zero frequency: centre, found from the data",
    )
    assert imported.manifest.statements[3].startswith("frames: rotate_")
    assert "(x, y) with y reversed" in imported.manifest.statements[3]


def test_every_decision_can_be_overridden(tike_file: Writer, scanned: Dataset) -> None:
    imported = import_scan(
        tike_file(),
        "star",
        values="counts",
        zero_frequency="centre",
        position_order="xy",
        position_flip="none",
        frame_orientation="as_stored",
        photons_per_pattern=500.0,
    )
    output = imported.manifest.statements[1:]
    given = [each.split(":")[0] for each in output if each.endswith("as given")]
    assert given == ["values", "zero frequency", "positions", "dose"]
    assert any("not checked" in each for each in output)
    counts, positions = together(imported)
    assert counts.sum(axis=(1, 2)).mean() == pytest.approx(500, rel=1e-4)
    corner = np.fft.ifftshift(scanned.splits["train"].counts[:, 0], axes=(-2, -1))
    assert np.allclose(counts / counts.max(), corner / corner.max(), atol=1e-6)
    swapped = scanned.splits["train"].positions_px[:, 0, ::-1]
    assert np.allclose(np.diff(positions, axis=0), np.diff(swapped, axis=0), atol=1e-3)
    assert imported.manifest.request["position_order"] == "xy"


def test_unknown_overrides_are_refused(tike_file: Writer) -> None:
    with pytest.raises(UserError, match="position_ordr"):
        import_scan(tike_file(), "star", position_ordr="yx")
    with pytest.raises(UserError, match="values"):
        import_scan(tike_file(), "star", values="intensity")


def test_a_bz2_wrapped_file_is_the_same_scan(tike_file: Writer) -> None:
    path = tike_file()
    wrapped = path.with_name("scan.npz.bz2")
    wrapped.write_bytes(bz2.compress(path.read_bytes()))
    plain, packed = import_scan(path, "star"), import_scan(wrapped, "star")
    assert plain.manifest.content_sha256 == packed.manifest.content_sha256


@pytest.mark.parametrize("split", SPLITS)
def test_a_ptychopinn_export_comes_back(scanned: Dataset, tmp_path: Path, split: str) -> None:
    path = tmp_path / "out.npz"
    export_npz(scanned, split, path)
    with np.load(path) as stored:
        count = scanned.manifest.patterns[split]
        assert stored["diffraction"].shape == (count, 32, 32)
        assert stored["diffraction"].dtype == np.float32
        first = scanned.splits[split].positions_px[0, 0]
        assert (stored["ycoords"][0], stored["xcoords"][0]) == tuple(first + 16)
        assert np.array_equal(stored["objectGuess"], scanned.splits[split].obj[0])
    if split == "train":
        imported = import_scan(path, "again")
        agrees(imported, scanned)
        assert "values: amplitudes, found from the data" in imported.manifest.statements
        assert np.allclose(imported.probe, scanned.probe, atol=1e-5)


def test_older_ptychopinn_files_have_the_pattern_on_the_last_axis(
    scanned: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "old.npz"
    train = scanned.splits["train"]
    np.savez(
        path,
        diff3d=np.moveaxis(np.sqrt(train.counts[:, 0]), 0, 2),
        probeGuess=scanned.probe,
        ycoords=train.positions_px[:, 0, 0] + 16,
        xcoords=train.positions_px[:, 0, 1] + 16,
        norm_Y_I=np.array(None, dtype=object),
    )
    imported = import_scan(path, "old")
    agrees(imported, scanned)
    assert "patterns: stored with the pattern on the last axis" in imported.manifest.statements


def test_several_images_do_not_fit_into_an_npz(scanned: Dataset, tmp_path: Path) -> None:
    from dataclasses import replace

    test = scanned.splits["test"]
    two = replace(test, image_index=np.arange(len(test.image_index)) % 2)
    with pytest.raises(UserError, match="2 images per split"):
        export_npz(replace(scanned, splits={"test": two}), "test", tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()


def test_our_own_cxi_file_is_a_measured_scan(scanned: Dataset, tmp_path: Path) -> None:
    save_dataset(scanned, tmp_path / "set")
    imported = import_scan(tmp_path / "set" / "train.cxi", "again")
    agrees(imported, scanned)
    assert not imported.manifest.nominal
    assert imported.manifest.geometry == scanned.manifest.geometry


def foreign_cxi(path: Path, scanned: Dataset, **changes: object) -> Path:
    """A CXI file with other tools' habits: eV, (3, J) translations, negative sample motion."""
    train = scanned.splits["train"]
    planck_light = 6.62607015e-34 * 299792458.0
    pixel = planck_light / (8000 * 1.602176634e-19) * 2.0 / (32 * 75e-6)
    metres = np.zeros((3, len(train.counts)))
    metres[:2] = -train.positions_px[:, 0, ::-1].T * pixel
    entries: dict[str, object] = {
        "entry_1/instrument_1/detector_1/data": train.counts[:, 0].astype(np.int32),
        "entry_1/instrument_1/detector_1/distance": 2.0,
        "entry_1/instrument_1/detector_1/x_pixel_size": 75e-6,
        "entry_1/instrument_1/detector_1/y_pixel_size": 75e-6,
        "entry_1/instrument_1/source_1/energy": 8000.0,
        "entry_1/instrument_1/source_1/probe": "x-ray",
        "entry_1/instrument_1/source_1/illumination": scanned.probe,
        "entry_1/sample_1/geometry_1/translation": metres,
    }
    entries.update(changes)
    with h5py.File(path, "w") as file:
        for name, value in entries.items():
            if value is not None:
                file[name] = value
    return path


def test_other_tools_cxi_files_are_read(scanned: Dataset, tmp_path: Path) -> None:
    imported = import_scan(foreign_cxi(tmp_path / "x.cxi", scanned), "beamline")
    agrees(imported, scanned)
    assert any("rotate_180" in output for output in imported.manifest.statements)
    assert imported.manifest.geometry.distance_m == 2.0
    assert imported.manifest.geometry.wavelength_m == pytest.approx(1.5498e-10, rel=1e-4)


def test_masked_pixels_are_unknown_and_stated(scanned: Dataset, tmp_path: Path) -> None:
    bad = np.zeros((32, 32), np.uint32)
    bad[3, 4] = 1
    data = scanned.splits["train"].counts[:, 0].astype(np.float32)
    data[:, 3, 4] = np.nan
    path = foreign_cxi(
        tmp_path / "x.cxi",
        scanned,
        **{
            "entry_1/instrument_1/detector_1/mask": bad,
            "entry_1/instrument_1/detector_1/data": data,
        },
    )
    imported = import_scan(path, "masked")
    assert imported.mask is not None
    hidden = np.argwhere(~imported.mask)
    assert len(hidden) == 1
    assert np.array_equal(np.sort(np.abs(hidden[0] - 16)), [12, 13]), "moved with the frames"
    assert np.isfinite(imported.splits["train"].all_counts()).all()
    assert (
        sum(
            output.startswith(("mask:", "bad pixels: 1")) for output in imported.manifest.statements
        )
        == 2
    )


def test_every_twelfth_pattern_is_held_out_twice() -> None:
    members = held_out(100)
    assert sorted(np.concatenate(list(members.values()))) == list(range(100))
    assert members["test"].tolist() == list(range(5, 100, 12))
    assert members["validation"].tolist() == list(range(11, 100, 12))
    assert list(members) == list(SPLITS)


def test_all_splits_share_one_frame_that_holds_every_window(
    tike_file: Writer, scanned: Dataset
) -> None:
    imported = import_scan(tike_file(), "star")
    shapes = {split.object_shape for split in imported.splits.values()}
    assert len(shapes) == 1
    _, positions = together(imported)
    assert positions.min() >= 0
    assert (positions.max(axis=0) + 32 <= next(iter(shapes))).all()


def test_scales_bring_the_object_to_order_one(tike_file: Writer, scanned: Dataset) -> None:
    imported = import_scan(tike_file(), "star")
    scale, probe = imported.manifest.photon_scale, imported.probe
    totals = imported.splits["train"].counts.sum(axis=(1, 2, 3))
    assert totals.mean() == pytest.approx(scale**2 * np.sum(np.abs(probe) ** 2), rel=1e-4)
    assert set(imported.manifest.object_norm.values()) == {1.0}


def test_another_probe_replaces_that_of_the_file(
    tike_file: Writer, scanned: Dataset, tmp_path: Path
) -> None:
    refined = tmp_path / "refined.npz"
    np.savez(refined, probe=np.stack([2 * scanned.probe, scanned.probe]))
    imported = import_scan(tike_file(probe=None), "star", probe=refined)
    assert np.allclose(imported.probe, scanned.probe, atol=1e-5)
    # Two modes of one shape are a single mode with the power of both.
    assert imported.modes is None
    assert any("1 orthogonal mode" in output for output in imported.manifest.statements)
    assert "probe: from refined.npz" in imported.manifest.statements
    assert imported.manifest.request["probe"] == "refined.npz"


def test_an_imported_set_is_saved_and_verified(tike_file: Writer, tmp_path: Path) -> None:
    imported = import_scan(tike_file(), "star")
    save_dataset(imported, tmp_path / "star")
    assert verify_dataset(tmp_path / "star") == imported.manifest
    back = load_dataset(tmp_path / "star")
    assert back.splits["test"].obj is None
    assert back.splits["test"].counts.dtype == np.float32


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [-0.5, -1.0])
def test_negative_pixels_that_are_no_flags_are_refused(
    tike_file: Writer, scanned: Dataset, value: float
) -> None:
    data = scanned.splits["train"].counts[:, 0].astype(np.float32)
    data[7, 3] = value * np.arange(1, 33)
    with pytest.raises(UserError, match=r"negative pixels \(first: pattern 7"):
        import_scan(tike_file(data=data), "bad")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"data": np.ones((144, 32, 30))}, r"shape \(144, 32, 30\); accepted: \(patterns, n, n\)"),
        ({"data": np.ones((32, 32))}, r"shape \(32, 32\); accepted"),
        ({"data": np.ones(())}, r"shape \(\); accepted"),
        ({"data": np.zeros((144, 32, 32))}, "are zero; give a scan with light"),
        ({"data": np.ones((144, 32, 32), complex)}, "complex128; accepted: counts or amplitudes"),
        ({"data": np.full((144, 32, 32), "a")}, "accepted: counts or amplitudes"),
        ({"scan": np.zeros((9, 2))}, r"144 patterns but positions of shape \(9, 2\)"),
        ({"scan": np.zeros((144, 2))}, "span 0 px; accepted: 1 to"),
        ({"scan": np.arange(288.0).reshape(144, 2) * 1e-8}, "are they metres or nanometres"),
        ({"scan": np.arange(288.0).reshape(144, 2) * 1e4}, "are they metres or nanometres"),
        ({"scan": np.full((144, 2), np.nan)}, "positions in .* are not all finite"),
        ({"scan": np.full((144, 2), "a")}, "accepted: real numbers, in px"),
        ({"probe": None}, "holds no probe; give one: `--probe FILE`"),
        ({"probe": np.zeros((32, 32), complex)}, "is zero or not finite"),
        ({"probe": np.full((32, 32), np.nan)}, "is zero or not finite"),
        ({"probe": np.ones((16, 16))}, "the probe has 16 px but the patterns of .* have 32"),
        ({"probe": np.ones((32, 30))}, r"shape \(32, 30\); accepted: a complex \(m, m\)"),
        ({"probe": np.full((32, 32), "a")}, r"accepted: a complex \(m, m\)"),
        ({"probe": np.eye(32)[:, :1] @ np.eye(32)[16:17]}, "within 8 px of its centre"),
        ({"scan": None}, "holds data, probe; accepted: diffraction"),
        ({"data": None}, "has no key data or diffraction"),
        ({"propagation": np.array("nearfield")}, "near-field data"),
        ({"near_field": np.array(True)}, "near-field data"),
    ],
)
def test_unusable_npz_files_are_refused_with_a_sentence(
    tike_file: Writer, changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        import_scan(tike_file(**changes), "bad")


def test_a_far_field_mark_is_no_obstacle(tike_file: Writer) -> None:
    import_scan(tike_file(propagation=np.array("farfield"), near_field=np.array(0)), "good")


def test_too_few_patterns_are_refused(tike_file: Writer, scanned: Dataset) -> None:
    train = scanned.splits["train"]
    path = tike_file(data=train.counts[:11, 0], scan=train.positions_px[:11, 0])
    with pytest.raises(UserError, match="holds 11 usable patterns; at least 12"):
        import_scan(path, "few")


def test_positions_outside_the_objects_frame_are_refused(scanned: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "out.npz"
    export_npz(scanned, "train", path)
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays["objectGuess"] = arrays["objectGuess"][:60]
    np.savez(path, **arrays)
    with pytest.raises(UserError, match=r"span rows 0 to 87 .* but the object has 60 x 90 px"):
        import_scan(path, "bad")
    arrays["xcoords"] = arrays["xcoords"][:5]
    np.savez(path, **arrays)
    with pytest.raises(UserError, match="holds 5 xcoords and 144 ycoords"):
        import_scan(path, "bad")


@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 0.999])
@pytest.mark.parametrize("pack", [bytes, bz2.compress])
def test_truncated_files_are_told(
    tike_file: Writer, share: float, pack: Callable[[bytes], bytes]
) -> None:
    path = tike_file()
    content = pack(path.read_bytes())
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"not a complete npz|is neither HDF5"):
        import_scan(path, "bad")


def test_flipped_bytes_never_end_in_a_traceback(tike_file: Writer) -> None:
    path = tike_file()
    content = bytearray(path.read_bytes())
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(30):
        torn = bytearray(content)
        for at in generator.integers(0, len(torn), 40):
            torn[at] ^= 0xFF
        torn[-300 + generator.integers(0, 300)] ^= 0xFF
        path.write_bytes(torn)
        try:
            import_scan(path, "bad", **KNOWN)
        except UserError:
            refused += 1
    assert refused > 20


def test_pickled_files_are_refused(tike_file: Writer) -> None:
    path = tike_file(data=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UserError, match="holds pickled Python objects"):
        import_scan(path, "bad")


def test_absent_and_foreign_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        import_scan(tmp_path / "nothing.npz", "bad")
    with pytest.raises(UserError, match="Zarr"):
        import_scan(tmp_path, "bad")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(UserError, match="is neither HDF5"):
        import_scan(tmp_path / "text.npz", "bad")


DETECTOR = "entry_1/instrument_1/detector_1"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({f"{DETECTOR}/data": None}, "accepted layouts: CXI"),
        ({f"{DETECTOR}/distance": None}, "lacks what a CXI ptychography file holds"),
        ({"entry_1/sample_1/geometry_1/translation": None}, "lacks what a CXI"),
        ({"entry_1/sample_1/geometry_1/translation": np.zeros((9, 3))}, r"shape \(9, 3\)"),
        ({"entry_1/sample_1/geometry_1/translation": np.zeros(144)}, r"shape \(144,\)"),
        ({f"{DETECTOR}/y_pixel_size": 70e-6}, "accepted: square pixels"),
        ({f"{DETECTOR}/distance": 0.0}, "accepted: positive numbers"),
        ({f"{DETECTOR}/distance": "far"}, "accepted: positive numbers"),
        ({f"{DETECTOR}/data": 3.0}, r"shape \(\); accepted"),
        ({"entry_1/instrument_1/source_1/illumination": None}, "holds no probe"),
        ({"entry_1/definition": "NXcxi_ptycho near field"}, "near-field data"),
        ({"entry_1/process_1/propagation": "Fresnel"}, "near-field data"),
        ({f"{DETECTOR}/near_field": 1}, "near-field data"),
    ],
)
def test_unusable_cxi_files_are_refused_with_a_sentence(
    scanned: Dataset, tmp_path: Path, changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        import_scan(foreign_cxi(tmp_path / "bad.cxi", scanned, **changes), "bad")


def test_a_near_field_attribute_is_seen(scanned: Dataset, tmp_path: Path) -> None:
    path = foreign_cxi(tmp_path / "bad.cxi", scanned)
    with h5py.File(path, "r+") as file:
        file["entry_1"].attrs["experiment_type"] = "near-field ptychography"
    with pytest.raises(UserError, match="entry_1/experiment_type"):
        import_scan(path, "bad")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.98])
def test_truncated_cxi_files_are_told(scanned: Dataset, tmp_path: Path, share: float) -> None:
    path = foreign_cxi(tmp_path / "bad.cxi", scanned)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match="is truncated"):
        import_scan(path, "bad")


# --- a real measurement -----------------------------------------------------------------------


@pytest.mark.slow
def test_the_siemens_star_scan_is_understood() -> None:
    imported = import_scan(measured_star(), "siemens")
    assert imported.manifest.patterns == {"train": 430, "validation": 43, "test": 43}
    output = imported.manifest.statements
    assert "values: counts, found from the data" in output
    assert "zero frequency: corner, found from the data" in output
    assert any(sentence.startswith("positions: (y, x), ") for sentence in output)
    assert imported.splits["test"].object_shape == (468, 465)
    counts = imported.splits["train"].counts
    assert counts[:, 0, 40:88, 40:88].sum() > 0.4 * counts.sum()
