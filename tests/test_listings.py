"""Listings of the DVC cache: what they may name, and DVC commands that would follow them."""

from __future__ import annotations

import io
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from study.artifacts import remote_client
from study.artifacts.listings import (
    BrokenListing,
    UnsafeListing,
    check_cached,
    is_inside,
    read_listing,
)
from study.artifacts.outputs import outputs
from study.jobs import Job, dvc_commit
from study.jobs.models import new_id
from study.settings import UserError
from study.stages.estimate import plan_lines

sys.path.insert(0, str(Path(__file__).parent / "stages"))
import stored_checkout  # pyright: ignore[reportMissingImports]

GOOD = {"md5": "0" * 32, "relpath": "s1/history.csv"}
OUTSIDE = [
    "../../study/runs.py",
    "s1/../../../study/runs.py",
    "/etc/passwd",
    "//etc/passwd",
    "",
    ".",
    "..",
    "s1/",
    "s1//a.txt",
    "./a.txt",
    "s1/.",
    "s1/..",
    "..\\..\\study\\runs.py",
    "C:\\study\\runs.py",
    "a\0b",
    "a\nb",
    "\x1b[2J",
]
NOT_MD5 = ["../../../../study/runs.py", "", "0" * 31, "0" * 32 + ".dir", "0" * 30 + "/x", "A" * 32]


def listing(tmp_path: Path, content: object) -> Path:
    file = tmp_path / "listing.dir"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


@pytest.mark.parametrize("relpath", OUTSIDE)
def test_a_path_that_leads_out_of_its_folder_is_unsafe(tmp_path, relpath):
    file = listing(tmp_path, [GOOD, {"md5": "1" * 32, "relpath": relpath}])
    with pytest.raises(UnsafeListing):
        read_listing(file)


@pytest.mark.parametrize("relpath", [".git/config", "s1/.GIT/hooks/x", "s1/.git", ".dvc/config"])
def test_a_repository_inside_an_output_is_unsafe(tmp_path, relpath):
    file = listing(tmp_path, [GOOD, {"md5": "1" * 32, "relpath": relpath}])
    with pytest.raises(UnsafeListing, match="folder of settings"):
        read_listing(file)


@pytest.mark.parametrize("md5", NOT_MD5)
def test_an_object_name_that_is_not_an_md5_is_unsafe(tmp_path, md5):
    with pytest.raises(UnsafeListing):
        read_listing(listing(tmp_path, [{"md5": md5, "relpath": "a.txt"}]))


@pytest.mark.parametrize(
    "content",
    ["", "{", "[" * 100_000, "{}", "null", [1], [{}], [{"md5": "0" * 32}], [{**GOOD, "md5": 5}],
     [{**GOOD, "relpath": ["a"]}]],
)  # fmt: skip
def test_content_that_is_not_a_listing_is_broken(tmp_path, content):
    with pytest.raises(BrokenListing):
        read_listing(listing(tmp_path, content))


def test_bytes_that_are_not_text_are_broken(tmp_path):
    (tmp_path / "listing.dir").write_bytes(b'[{"name": "\xff\xfe"}]')
    with pytest.raises(BrokenListing):
        read_listing(tmp_path / "listing.dir")


def test_no_accepted_path_leaves_its_folder(tmp_path):
    """Random paths from the pieces that attacks are made of, against the system's own join."""
    chance = random.Random(15)
    pieces = ["..", ".", "", "a", "s1", "...", "..a", "a..", " ", "\\", "\0", "~", "-", "ä", "C:"]
    folder = tmp_path / "runs" / "flat"
    accepted = 0
    for _ in range(3000):
        relpath = "/".join(chance.choices(pieces, k=chance.randint(1, 5)))
        if is_inside(relpath):
            accepted += 1
            joined = (folder / relpath).resolve()
            assert joined.is_relative_to(folder) and joined != folder, relpath
            assert joined.relative_to(folder).as_posix() == relpath
    assert accepted > 300


# --- the cache, before DVC acts ---------------------------------------------------------------


@pytest.fixture
def top(tmp_path: Path) -> Path:
    stored_checkout.store(tmp_path / "top", {"control": {"a.txt": "one"}})
    return tmp_path / "top"


def hostile(top: Path) -> str:
    """A listing in the cache that would replace study/runs.py."""
    payload = stored_checkout.put(top, "print('taken over')")
    entries = [{"md5": payload, "relpath": "../../study/runs.py"}]
    return stored_checkout.put(top, json.dumps(entries), ".dir")


def dvc(top: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "study.artifacts.listings", *words)
    return subprocess.run(command, cwd=top, capture_output=True, text=True, check=False)


def record(top: Path, md5: str) -> None:
    """Let dvc.lock name this listing as the runs of control."""
    lock = top / "dvc.lock"
    before = lock.read_text().partition("      md5: ")[2].partition("\n")[0]
    lock.write_text(lock.read_text().replace(before, md5))


def test_a_cache_without_unsafe_listings_passes(top, tmp_path):
    check_cached(top)
    check_cached(top / "runs")
    check_cached(tmp_path)  # not a DVC checkout
    for broken in ("torn", "{}", json.dumps([5, {**GOOD, "size": 1}, {"md5": "0" * 32}])):
        stored_checkout.put(top, broken, ".dir")
    check_cached(top)


@pytest.mark.parametrize(
    "more",
    [{"isexec": True}, {"size": "x"}, {"etag": "x"}, {"md5": None}, {"md5": 5}],
)
@pytest.mark.parametrize("others", [[], [GOOD], [5], [{}]])
def test_an_unsafe_path_in_a_listing_that_is_broken_too_is_refused(top, tmp_path, more, others):
    """DVC ignores further keys of an entry, or uses them."""
    entries = [*others, {"md5": "1" * 32, "relpath": "../../study/runs.py", **more}]
    with pytest.raises(UnsafeListing, match="outside its folder"):
        read_listing(listing(tmp_path, entries))
    oid = stored_checkout.put(top, json.dumps(entries), ".dir")
    with pytest.raises(UserError, match=oid[2:]):
        check_cached(top)


def test_an_unsafe_path_beside_bytes_that_are_not_utf8_is_refused(top):
    """DVC reads listings in the encoding of the system."""
    oid = hostile(top)
    file = stored_checkout.object_of(top, oid)
    file.chmod(0o644)
    file.write_bytes(file.read_bytes().replace(b'"md5"', b'"x\xff": 1, "md5"'))
    with pytest.raises(UserError, match=oid[2:]):
        check_cached(top)


@pytest.mark.parametrize("level", ["files/md5", "."])
def test_an_unsafe_listing_in_the_cache_is_named(top, level):
    oid = hostile(top)
    file = stored_checkout.object_of(top, oid)
    place = top / ".dvc/cache" / level / oid[:2] / oid[2:]
    place.parent.mkdir(parents=True, exist_ok=True)
    file.rename(place)
    with pytest.raises(UserError, match=oid[2:]):
        check_cached(top)


def test_a_cache_elsewhere_is_checked_too(top, tmp_path):
    oid = hostile(top)
    (top / ".dvc/cache").rename(tmp_path / "elsewhere")
    (top / ".dvc/config.local").write_text(f"[cache]\n    dir = {tmp_path / 'elsewhere'}\n")
    with pytest.raises(UserError, match=oid[2:]):
        check_cached(top)


@pytest.mark.slow
def test_a_dvc_command_of_ours_does_not_follow_an_unsafe_listing(top):
    (top / "study").mkdir()
    (top / "study/runs.py").write_text("ours")
    record(top, hostile(top))
    for words in (("checkout", "--force"), ("repro", "train@control")):
        done = dvc(top, *words)
        assert done.returncode == 2 and "study: " in done.stderr and "Traceback" not in done.stderr
    assert (top / "study/runs.py").read_text() == "ours" and not (top / "runs").exists()
    # The reason for all this; when DVC refuses it too, the check can go.
    plain = (sys.executable, "-m", "dvc", "checkout", "--force", "-q", "train@control")
    subprocess.run(plain, cwd=top, check=True)
    assert (top / "study/runs.py").read_text() == "print('taken over')"


def test_a_dvc_command_of_a_job_does_not_follow_an_unsafe_listing(top):
    oid = hostile(top)
    job = {"id": new_id("control"), "arm": "control", "seeds": (1,), "executor": "local"}
    step = dvc_commit.begin(
        top, Job.model_validate({**job, "created": 0.0}), "train@control", ["--version"]
    )
    assert isinstance(step, dvc_commit.Step)
    assert step.child.wait(timeout=60) == 2 and oid[2:] in step.output()
    step.lock.release()


def test_a_plan_names_an_unsafe_listing(top):
    shutil.copy(stored_checkout.ROOT / "params.yaml", top)
    oid = hostile(top)
    with pytest.raises(UserError, match=oid[2:]):
        plan_lines(top, ["control"])


@pytest.mark.slow
def test_a_dvc_command_of_ours_does_not_follow_further_keys(top):
    """The check refuses a listing that only DVC can use."""
    payload = stored_checkout.put(top, "print('taken over')")
    entries = [{"md5": payload, "relpath": "../../study/runs.py", "isexec": False}]
    (top / "study").mkdir()
    (top / "study/runs.py").write_text("ours")
    record(top, stored_checkout.put(top, json.dumps(entries), ".dir"))
    done = dvc(top, "checkout", "--force")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert (top / "study/runs.py").read_text() == "ours"


@pytest.mark.slow
def test_a_dvc_command_of_ours_does_its_work_on_a_sound_cache(top):
    done = dvc(top, "checkout", "-q", "train@control")
    assert done.returncode == 0, done.stderr
    assert (top / "runs/control/a.txt").read_text() == "one"


@pytest.mark.parametrize("path", ["../study", "/tmp/x", "a/../../study", "..\\study"])
def test_an_output_outside_its_pipeline_is_refused(top, path):
    (top / "imported").mkdir()
    (top / "imported/x.dvc").write_text(f"outs:\n- md5: {'a' * 32}\n  path: '{path}'\n")
    with pytest.raises(UserError, match="path"):
        outputs(top)


@pytest.mark.parametrize(
    "more",
    [
        {"relpath": "x" * 300},
        {"relpath": "/".join("d" * 1500)},
        {"relpath": "s1/history.csv/x"},
        {"relpath": "s1"},
        {"isexec": True},
        {"size": "x"},
    ],
)
def test_what_dvc_or_a_disk_cannot_place_is_refused(tmp_path, more):
    entry = {"md5": "1" * 32, "relpath": "s1/a.csv", **more}
    with pytest.raises((UnsafeListing, BrokenListing)):
        read_listing(listing(tmp_path, [GOOD, entry]))


def test_a_data_set_with_a_colon_is_named(tmp_path):
    (tmp_path / "imported").mkdir()
    (tmp_path / "imported/a:b.dvc").write_text("outs: []")
    with pytest.raises(UserError, match="colon"):
        outputs(tmp_path)


def test_a_transfer_that_crashes_says_what_to_do():
    errors = io.BytesIO(b"Traceback\nmodule.SomeError: 'dvc.lock' validation failed\n")
    text = remote_client._crash(errors)
    assert "'dvc.lock' validation failed" in text and "git status" in text
    assert "SomeError" not in text
