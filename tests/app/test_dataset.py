"""Data set: what the page says of simulated, measured, grouped, absent and torn sets."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from checkouts import SEEDS, change, opened, rendered, settings, two_by_three
from stored import arm

from app.dataset import figures, leakage, probes, reading, scan
from study.formats.dataset import Dataset, save_dataset
from study.formats.geometry import Geometry

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def texts(app) -> str:
    return "\n".join(rendered(item.value) for item in (*app.markdown, *app.caption, *app.text))


def alts(app) -> list[str]:
    return [chart.proto.alt for chart in app.get("plotly_chart")]


def measured(tiny: Dataset) -> Dataset:
    """The tiny test scan as a measurement of one object with a real geometry."""
    test = dataclasses.replace(tiny.splits["test"], obj=None, stride_px=None)
    index = {"train": slice(0, None, 3), "validation": slice(1, None, 3), "test": slice(2, None, 3)}
    splits = {
        name: dataclasses.replace(
            test,
            counts=test.all_counts()[part],
            positions_px=test.positions_px[part],
            image_index=test.image_index[part],
        )
        for name, part in index.items()
    }
    facts = {
        "name": "star",
        "kind": "imported",
        "nominal": False,
        "geometry": Geometry(energy_j=1.6e-15, distance_m=2.0, pixel_m=5e-5),
        "patterns": {name: len(split.counts) for name, split in splits.items()},
        "request": {"file": "star.cxi"},
        "statements": ("values: counts, as given <b>$x$</b>",),
    }
    return Dataset(tiny.manifest.model_copy(update=facts), tiny.probe, splits)


@pytest.fixture
def checkout(fresh: Path, tiny: Dataset) -> Path:
    """Two arms on data/tiny, of which agc ran on different content."""
    two_by_three(fresh)
    save_dataset(tiny, fresh / "data" / "tiny")
    for name, content in {"control": tiny.manifest.content_sha256, "agc": "e" * 64}.items():
        for seed in SEEDS:
            change(fresh, name, seed, data__sha256=content)
    return fresh


# --- the page ---------------------------------------------------------------------------------


def test_an_empty_checkout_says_how_to_fill_it():
    app = opened("dataset")
    assert "make repro" in app.info[0].value and not app.get("plotly_chart")


def test_a_set_that_is_not_here_says_how_to_get_it_and_what_was_asked(fresh):
    settings(fresh, control=arm(seeds=SEEDS))
    app = opened("dataset", data="tiny")
    assert "dvc repro data.dvc" in app.info[0].value and "study pull data" in app.info[0].value
    request = app.dataframe[0].value
    assert dict(zip(request["what"], request["value"], strict=True))["noise_seed"] == "4"
    assert list(app.dataframe[1].value["arm"]) == ["control"]


def test_a_simulated_set_shows_object_probe_scan_patterns_and_checks(checkout):
    app = opened("dataset", data="tiny", split="test", pattern="17")
    assert app.slider(key="pattern").value == 17
    assert len(app.get("plotly_chart")) == 9
    assert all(alts(app))
    assert any("pattern 17" in alt for alt in alts(app))
    message = texts(app)
    assert "raster with a step of 8 px" in message and "all 49 patterns" in message
    assert not re.search(r"\d%", message), "a share is written as in the report: 5 %"
    assert "(object seeds: train 1" in message
    assert "(267 patterns compared, all of them)" in message


def test_the_split_of_the_address_is_shown(checkout):
    app = opened("dataset", split="train", pattern="100")
    assert app.slider(key="pattern").value == 100 and app.slider(key="pattern").max == 168
    app.segmented_control(key="split").set_value("test").run()
    assert not app.exception and app.slider(key="pattern").value <= 48


@pytest.mark.parametrize("bad", ["49", "-1", "1e3", "../x", "²", "9" * 99, "9" * 5000])
def test_a_pattern_that_is_none_is_a_sentence(checkout, bad):
    app = opened("dataset", pattern=bad)
    assert "0 to 48" in app.warning[0].value and app.slider(key="pattern").value == 0


def test_what_the_address_says_is_text_and_never_markup(checkout):
    message = opened("dataset", pattern="[x](http://y) **z**").warning[0].value
    assert "](http" not in message and "**z" not in message


def test_an_unknown_set_or_split_is_a_sentence(checkout):
    app = opened("dataset", data="../../etc", split="tst")
    assert [("../../etc" in w.value, "tst" in w.value) for w in app.warning[:2]] == [
        (True, False),
        (False, True),
    ]


def test_users_are_fenced_by_content(checkout):
    app = opened("dataset", data="tiny")
    assert "1 of 2 arms" in app.warning[0].value
    ran = dict(zip(*(app.dataframe[0].value[key] for key in ("arm", "results")), strict=True))
    assert ran == {
        "control": "3 seeds on this content",
        "agc": f"3 seeds on different content ({'e' * 12})",
    }
    link = app.get("page_link")[-1].proto
    assert link.query_string == "arms=control"


def test_a_measured_set_shows_lengths_and_says_what_held_out_means(fresh, tiny):
    settings(fresh, control=arm(seeds=SEEDS, data="imported/star"))
    save_dataset(measured(tiny), fresh / "imported" / "star")
    app = opened("dataset", data="imported/star")
    message = texts(app)
    assert "The true object of a measurement is unknown" in app.info[0].value
    assert (
        "All splits are from one scan" in message
        and "of the test patterns are closer to" in message
    )
    assert any("nm per px" in badge.proto.body for badge in app.get("markdown"))
    # A statement of a file is text, never markup.
    assert any("<b>$x$</b>" in line.value for line in app.text)


def test_groups_and_images_are_shown_frame_by_frame(fresh, grouped):
    settings(fresh, control=arm(seeds=SEEDS))
    save_dataset(grouped, fresh / "data" / "tiny")
    frames = grouped.manifest.patterns["test"] * 4
    app = opened("dataset", image="1")
    assert app.slider(key="pattern").max == frames - 1


def test_a_torn_file_is_a_sentence(checkout):
    file = checkout / "data" / "tiny" / "test.cxi"
    file.write_bytes(file.read_bytes()[:5000])
    assert "torn" in opened("dataset").error[0].value


def test_a_torn_manifest_is_a_sentence(checkout):
    (checkout / "data" / "tiny" / "manifest.json").write_text('{"n": 16')
    assert "manifest.json" in opened("dataset").error[0].value


# --- the checks -------------------------------------------------------------------------------


def scans_of(dataset: Dataset) -> dict[str, leakage.SplitScan]:
    return {
        name: leakage.SplitScan(
            split.all_counts()[:, 0],
            split.positions_px[:, 0],
            split.image_index,
            split.obj,
            split.object_shape,
        )
        for name, split in dataset.splits.items()
    }


def test_a_repeated_object_is_found_by_its_pixels(tiny):
    scans = scans_of(tiny)
    scans["test"] = dataclasses.replace(scans["test"], obj=scans["train"].obj)
    objects, _, areas = leakage.check(scans, tiny.manifest, diameter=6.0)
    assert (objects.state, areas.label) == ("failed", "overlapping")
    assert "train and test" in objects.sentence


def test_a_repeated_seed_is_found_without_truth(tiny):
    seeds = {"train": 1, "validation": 3, "test": 3}
    manifest = tiny.manifest.model_copy(update={"request": {"object_seeds": seeds}})
    scans = {n: dataclasses.replace(s, obj=None) for n, s in scans_of(tiny).items()}
    assert leakage.shared_objects(scans, manifest) == [("validation", "test")]


def test_a_repeated_pattern_is_counted_and_dark_ones_are_not(tiny):
    scans = scans_of(tiny)
    frames = scans["test"].frames.copy()
    frames[:2] = scans["train"].frames[5:7]
    frames[2] = 0
    dark = scans["validation"].frames.copy()
    dark[0] = 0
    scans["test"] = dataclasses.replace(scans["test"], frames=frames)
    scans["validation"] = dataclasses.replace(scans["validation"], frames=dark)
    patterns = leakage.check(scans, tiny.manifest, 6.0)[1]
    assert patterns.state == "failed" and "2 in train and test" in patterns.sentence
    assert "validation" not in patterns.sentence


def test_large_sets_are_compared_by_a_stated_sample(tiny, monkeypatch):
    monkeypatch.setattr(leakage, "HASHED_BYTES", 100_000)
    patterns = leakage.check(scans_of(tiny), tiny.manifest, 6.0)[1]
    assert "one in 3" in patterns.sentence


def test_overlap_is_the_share_of_near_neighbours():
    def line(*places: float) -> leakage.SplitScan:
        corners = np.array([[0.0, x] for x in places])
        index = np.zeros(len(places), int)
        return leakage.SplitScan(np.ones((len(places), 4, 4)), corners, index, None, (9, 99))

    share, median = leakage.overlap(line(0, 10), line(1, 12, 40), diameter=5.0)
    assert (share, median) == (2 / 3, 2.0)


# --- pictures and numbers ---------------------------------------------------------------------


def test_the_lit_diameter_of_a_disk_is_its_own():
    y, x = np.mgrid[:64, :64] - 31.5
    assert leakage.diameter_px((np.hypot(y, x) < 10).astype(complex)) == pytest.approx(20, rel=0.02)


def test_light_adds_up_over_the_positions():
    probe = np.full((4, 4), 2.0 + 0j)
    found = scan.steps(np.array([[0.0, 0.0], [0.0, 2.0]]), probe, (6, 8))
    assert found.step_px == 2.0
    assert np.array_equal(found.dose[0], [0.5, 0.5, 1, 1, 0.5, 0.5, 0, 0])


def test_a_weak_phase_is_diverging_and_a_strong_one_cyclic():
    weak, strong = figures.phase_shades(np.array([[0.3]])), figures.phase_shades(np.array([[3.0]]))
    assert (weak.scale, weak.low, weak.high) == ("RdBu_r", -0.3, 0.3)
    assert (strong.scale, strong.low, strong.high) == ("twilight", -np.pi, np.pi)


@pytest.mark.parametrize(
    ("width", "length"), [(100.0, 20.0), (74.0, 10.0), (3100.0, 500.0), (9999.0, 1000.0)]
)
def test_a_scale_bar_is_a_round_length_of_at_most_a_fifth(width, length):
    assert figures.bar_length_nm(width) == length


def test_only_what_is_shown_is_read(checkout, monkeypatch):
    """A histogram of a large split reads a stated sample."""
    monkeypatch.setattr(reading, "SAMPLE", 10)
    found = reading.photons(Path("data/tiny"), "test")
    assert (found.sampled, found.total, len(found.sums)) == (10, 49, 10)
    assert not isinstance(reading.part(Path("data/tiny"), "test").frames, np.ndarray)


def test_places_of_a_sample_are_spread_over_all():
    assert list(reading.spread(10, 4)) == [0, 3, 6, 9]
    assert list(reading.spread(3, 512)) == [0, 1, 2]


def test_a_dark_pixel_has_no_phase():
    phase = probes.phase_where_lit(np.array([[1j, 1e-6]]))
    assert phase[0, 0] == pytest.approx(np.pi / 2) and np.isnan(phase[0, 1])
