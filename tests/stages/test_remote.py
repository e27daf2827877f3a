"""Pulling and pushing through a folder, keys and addresses, the embedded remote, the cache."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import shutil
import sys
from pathlib import Path

import pytest

from study.artifacts import store as embedded
from study.artifacts.cache import cache_lines
from study.artifacts.publish import publish
from study.artifacts.remote import Wanted, check, pull, push
from study.artifacts.remote_client import NoRemote, wait_s
from study.artifacts.remotes import add_remote, remote_lines, store_key
from study.artifacts.transport import Remote
from study.settings import UserError

sys.path.insert(0, str(Path(__file__).parent))
import stored_checkout

ARMS = {"control": {"a.txt": "one", "s1/b.txt": "two"}, "flat": {"a.txt": "one", "c.txt": "three"}}


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARMATURE_REMOTE_WAIT_S", "120")
    stored_checkout.store(tmp_path / "top", ARMS)
    return tmp_path / "top"


@pytest.fixture
def fresh(top: Path, tmp_path: Path) -> Path:
    """A clone without artifacts; both share the folder `lab`, which holds everything."""
    add_remote(top, "lab", str(tmp_path / "lab"), None, False)
    stored_checkout.git(top, "commit", "-qam", "remote")
    push(Wanted(top))
    stored_checkout.git(top, "clone", "-q", str(top), str(tmp_path / "fresh"))
    return tmp_path / "fresh"


def files(folder: Path) -> dict[str, str]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_text() for path in found}


@pytest.mark.slow
def test_one_arm_and_then_all_come_through_a_folder(fresh, tmp_path):
    status = tmp_path / "status.json"
    assert "control: here, 3 objects downloaded" in pull(Wanted(fresh, ("control",)), status)
    assert files(fresh / "runs") == {f"control/{k}": v for k, v in ARMS["control"].items()}
    message = embedded.Path(status).read_text()
    assert '"state": "finished"' in message and '"done": 3' in message
    assert "flat: here, 2 objects downloaded" in pull(Wanted(fresh)), "what is shared came already"
    assert files(fresh / "runs/flat") == ARMS["flat"]


@pytest.mark.slow
def test_files_that_nothing_keeps_are_not_overwritten(fresh):
    (fresh / "runs/control").mkdir(parents=True)
    (fresh / "runs/control/a.txt").write_text("mine")
    with pytest.raises(UserError, match="not stored anywhere"):
        pull(Wanted(fresh, ("control",)))
    assert files(fresh / "runs/control") == {"a.txt": "mine"}


@pytest.mark.slow
def test_a_corrupted_object_is_never_sent_and_never_placed(fresh, top, tmp_path):
    for file in (tmp_path / "lab").rglob("*"):
        if file.is_file() and file.read_text() == "two":
            stored_checkout.spoil(file)
    with pytest.raises(UserError, match=r"runs/control/s1/b.txt is corrupted on remote 'lab'"):
        pull(Wanted(fresh))
    assert files(fresh / "runs") == {f"flat/{key}": text for key, text in ARMS["flat"].items()}

    oid = stored_checkout.hashlib.md5(b"two").hexdigest()
    stored_checkout.spoil(stored_checkout.object_of(top, oid))
    with pytest.raises(UserError, match=r"b\.txt is corrupted in this cache"):
        push(Wanted(top), again=True)
    (line, fine), (total, _) = cache_lines(top)
    assert not fine and "runs/control/s1/b.txt" in line and "study pull control" in line
    assert total.endswith("5 objects, 0.0 MB, 1 corrupted")


@pytest.mark.slow
def test_a_sound_cache_is_sound_and_an_orphan_is_named(top):
    assert list(cache_lines(top)) == [("cache: 5 objects, 0.0 MB, 0 corrupted", True)]
    stored_checkout.spoil(stored_checkout.object_of(top, stored_checkout.put(top, "orphan")))
    (line, fine), _ = cache_lines(top)
    assert not fine and "not used by this commit" in line


@pytest.mark.slow
def test_publishing_takes_a_remote_that_others_know(fresh, top, tmp_path):
    printed = publish(top, False, None)
    page = (top / "PUBLISHED.md").read_text()
    assert "study pull control" in page and "read access" in printed[-1]
    assert str(tmp_path / "top") not in page
    again = publish(top, False, None)
    assert (top / "PUBLISHED.md").read_text() == page and "0 objects to upload" in again[1]
    shutil.rmtree(fresh / ".dvc/cache", ignore_errors=True)
    assert "the remote has it" in "\n".join(publish(fresh, False, None))
    (top / "dvc.yaml").write_text("stages: {}\n")
    with pytest.raises(UserError, match=r"commit your changes first.*dvc.yaml"):
        publish(top, False, None)


def test_what_no_colleague_reaches_is_not_published(top, tmp_path, monkeypatch):
    monkeypatch.setenv("ARMATURE_STORE", str(tmp_path / "store"))
    embedded.settle(top)
    with pytest.raises(UserError, match="no colleague reaches"):
        publish(top, False, None)
    add_remote(top, "mine", str(tmp_path / "mine"), None, private=True)
    with pytest.raises(UserError, match="in this clone only"):
        publish(top, False, None)
    assert not (top / "PUBLISHED.md").exists()


@pytest.mark.slow
def test_a_folder_that_is_not_mounted_is_a_sentence(top, tmp_path):
    with pytest.raises(NoRemote):
        check(top)
    add_remote(top, "lab", str(tmp_path / "gone/lab"), None, False)
    with pytest.raises(UserError, match="Is the disk mounted"):
        push(Wanted(top))
    assert not (tmp_path / "gone").exists()


# --- hostile listings -------------------------------------------------------------------------


def on_lab(tmp_path: Path, oid: str) -> Path:
    """Move an object that `stored_checkout.put` made into the remote."""
    made = stored_checkout.object_of(tmp_path / "made", oid)
    target = tmp_path / "lab/files/md5" / oid[:2] / oid[2:]
    target.parent.mkdir(parents=True, exist_ok=True)
    made.rename(target)
    return target


@pytest.mark.slow
@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize(
    "extra",
    [
        {"relpath": "../../kept/file.txt"},
        {"relpath": "ABSOLUTE"},
        {"relpath": "s1\\..\\x"},
        {"md5": "../../../../../kept/file.txt", "relpath": "x"},
    ],
)
def test_a_listing_that_leads_out_is_refused_before_anything_is_placed(
    fresh, tmp_path, extra, cached
):
    (fresh / "kept").mkdir()
    (fresh / "kept/file.txt").write_text("ours")
    payload = stored_checkout.put(tmp_path / "made", "taken over")
    on_lab(tmp_path, payload)
    hostile = {"md5": payload, **extra}
    if hostile["relpath"] == "ABSOLUTE":
        hostile["relpath"] = str(fresh / "kept/file.txt")
    oid = changed_listing(fresh, tmp_path, hostile)
    if cached:
        stored_checkout.put(fresh, on_lab(tmp_path, oid).read_text(), ".dir")
    else:
        on_lab(tmp_path, oid)
    with pytest.raises(UserError, match="runs/flat"):
        pull(Wanted(fresh))
    assert (fresh / "kept/file.txt").read_text() == "ours"
    assert not (fresh / "runs/flat").exists(), "nothing of that output is placed"
    assert files(fresh / "runs/control") == ARMS["control"], "the other is"
    assert stored_checkout.object_of(fresh, oid).exists() == cached


@pytest.mark.slow
def test_a_cached_listing_that_leads_out_is_named_and_never_sent(top, tmp_path):
    add_remote(top, "lab", str(tmp_path / "lab"), None, False)
    hostile = {"md5": stored_checkout.put(top, "x"), "relpath": "../../kept/file.txt"}
    oid = changed_listing(top, tmp_path, hostile)
    stored_checkout.put(top, stored_checkout.object_of(tmp_path / "made", oid).read_text(), ".dir")
    with pytest.raises(UserError, match="runs/flat"):
        push(Wanted(top))
    sent = {path.name for path in (tmp_path / "lab").rglob("*")}
    assert oid[2:] not in sent and any(name.endswith(".dir") for name in sent)
    faults = [line for line, fine in cache_lines(top) if not fine]
    assert any(oid[2:] in line for line in faults)


@pytest.mark.slow
@pytest.mark.parametrize(
    "dvc_file",
    [
        "wdir: ../study\nouts:\n- md5: {md5}\n  hash: md5\n  path: set\n",
        "outs:\n- md5: {md5}\n  hash: md5\n  path: set\n"
        "- md5: {md5}\n  hash: md5\n  path: ../study/set\n",
        "outs:\n- md5: {md5}\n  hash: md5\n  path: ../../outside\n",
    ],
)
def test_a_dvc_file_places_nothing_outside_its_own_folder(fresh, dvc_file):
    (fresh / "imported").mkdir()
    (fresh / "study").mkdir()
    lock = (fresh / "dvc.lock").read_text()
    md5 = lock.partition("train@flat")[2].partition("      md5: ")[2].partition("\n")[0]
    (fresh / "imported/set.dvc").write_text(dvc_file.format(md5=md5))
    with pytest.raises(UserError):
        pull(Wanted(fresh))
    assert not (fresh / "study/set").exists() and not (fresh.parent / "outside").exists()
    assert not list((fresh / "study").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(("link", "target"), [("runs", "study"), ("runs/flat", "study/new")])
def test_a_link_leads_no_output_into_the_code(fresh, link, target):
    (fresh / target).mkdir(parents=True)
    (fresh / link).parent.mkdir(exist_ok=True)
    (fresh / link).symlink_to(fresh / target)
    with pytest.raises(UserError, match="runs"):
        pull(Wanted(fresh, ("flat",)))
    assert files(fresh / "study") == {}


@pytest.mark.slow
def test_a_link_that_git_tracks_is_not_followed(fresh, tmp_path):
    (tmp_path / "home").mkdir()
    (fresh / "runs").symlink_to(tmp_path / "home")
    stored_checkout.git(fresh, "add", "-f", "runs")
    with pytest.raises(UserError, match="runs"):
        pull(Wanted(fresh, ("flat",)))
    assert files(tmp_path / "home") == {}


@pytest.mark.slow
def test_a_link_to_a_larger_disk_is_followed(fresh, tmp_path):
    (tmp_path / "disk").mkdir()
    (fresh / "runs").symlink_to(tmp_path / "disk")
    pull(Wanted(fresh, ("flat",)))
    assert files(tmp_path / "disk/flat") == ARMS["flat"]


def changed_listing(top: Path, tmp_path: Path, extra: dict[str, str]) -> str:
    """Let dvc.lock name another listing of flat, with one more entry; made in `made`."""
    lock = (top / "dvc.lock").read_text()
    before = lock.partition("train@flat")[2].partition("      md5: ")[2].partition("\n")[0]
    entries = [
        {"md5": hashlib.md5(text.encode()).hexdigest(), "relpath": name}
        for name, text in ARMS["flat"].items()
    ]
    after = stored_checkout.put(tmp_path / "made", json.dumps([*entries, extra]), ".dir")
    (top / "dvc.lock").write_text(lock.replace(before, after))
    return after


# --- the embedded remote ----------------------------------------------------------------------


def test_the_embedded_remote_serves_until_somebody_chose_another(top, tmp_path, monkeypatch):
    monkeypatch.setenv("ARMATURE_STORE", str(tmp_path / "store"))
    committed = (top / ".dvc/config").read_text()
    assert "the default remote" in (embedded.settle(top) or "")
    assert embedded.settle(top) is None, "nothing to do the second time"
    assert (tmp_path / "store").is_dir() and (top / ".dvc/config").read_text() == committed
    local = (top / ".dvc/config.local").read_text()
    assert "remote = armature-store" in local and "verify = True" in local

    add_remote(top, "lab", "s3://bucket/path", "http://127.0.0.1:9", False)
    assert [line[:5] for line in remote_lines(top)] == ["* lab", "  arm"]
    assert embedded.settle(top) is None and embedded.step_back(top) is None

    monkeypatch.setenv("ARMATURE_STORE", "")
    assert "disabled" in (embedded.settle(top) or "")
    assert [line[:5] for line in remote_lines(top)] == ["* lab"]


def test_a_default_of_ones_own_is_kept(top, tmp_path, monkeypatch):
    monkeypatch.setenv("ARMATURE_STORE", str(tmp_path / "store"))
    add_remote(top, "mine", str(tmp_path / "mine"), None, private=True)
    embedded.settle(top)
    assert "* mine" in "\n".join(remote_lines(top))
    assert embedded.settle(top) is None


def test_the_store_lies_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.delenv("ARMATURE_STORE")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert embedded.folder() == tmp_path / "armature/store"
    monkeypatch.setenv("ARMATURE_STORE", " ")
    assert embedded.folder() is None


# --- addresses and keys -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "url", "endpoint", "says"),
    [
        ("Lab", "s3://bucket", None, "cannot name a remote"),
        ("armature-store", "s3://bucket", None, "is taken"),
        ("../x", "s3://bucket", None, "cannot name a remote"),
        ("lab", "ftp://host/x", None, "not an address"),
        ("lab", "s3://", None, "not an address"),
        ("lab", "webdavs://me:secret@host/x", None, "password"),
        ("lab", "ssh://host/x", "http://host", "--endpoint takes"),
        ("lab", "s3://bucket", "host:9000", "--endpoint takes"),
    ],
)
def test_an_address_that_is_none_is_refused(top, name, url, endpoint, says):
    before = (top / ".dvc/config").read_text()
    with pytest.raises(UserError, match=says):
        add_remote(top, name, url, endpoint, False)
    assert (top / ".dvc/config").read_text() == before and not (top / ".dvc/config.local").exists()


def test_a_key_is_stored_for_its_owner_alone(top, tmp_path):
    add_remote(top, "lab", "s3://bucket/path", None, False)
    store_key(top, "lab", "KEYID", "hidden", None)
    local = top / ".dvc/config.local"
    assert "hidden" in local.read_text() and local.stat().st_mode & 0o777 == 0o600
    assert "hidden" not in (top / ".dvc/config").read_text()
    assert all("hidden" not in line for line in remote_lines(top))
    for user, secret in ((None, "x"), ("KEYID", "")):
        with pytest.raises(UserError, match="needed: --id"):
            store_key(top, "lab", user, secret, None)
    with pytest.raises(UserError, match="no remote 'other'"):
        store_key(top, "other", "KEYID", "x", None)
    add_remote(top, "host", "ssh://me@host/path", None, False)
    with pytest.raises(UserError, match="takes --file"):
        store_key(top, "host", None, None, tmp_path / "absent")


def test_a_disk_that_fills_while_dvc_writes_keeps_every_key(top, monkeypatch):
    from configobj import ConfigObj

    add_remote(top, "lab", "s3://bucket/path", None, False)
    store_key(top, "lab", "KEYID", "hidden", None)
    before = (top / ".dvc/config.local").read_bytes()

    def full(_self, stream):
        stream.write(b"[")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ConfigObj, "write", full)
    with pytest.raises(OSError, match="No space"):
        store_key(top, "lab", "KEYID", "other", None)
    assert (top / ".dvc/config.local").read_bytes() == before
    assert not [path for path in top.iterdir() if path.name.endswith(".tmp")]


def test_a_relative_address_keeps_its_meaning(top):
    (top / ".dvc/config").write_text("['remote \"near\"']\n    url = ../stored\n")
    add_remote(top, "lab", "s3://bucket/path", None, False)
    near = embedded.read_config(top)["remote"]["near"]["url"]
    assert Path(near).resolve() == (top / "stored").resolve()


def test_patience_is_a_number(monkeypatch):
    monkeypatch.setenv("ARMATURE_REMOTE_WAIT_S", "soon")
    with pytest.raises(UserError, match="accepted: seconds"):
        wait_s()


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("webdav://127.0.0.1:8080/arm", ("127.0.0.1", 8080)),
        ("webdav://webdav.example.org/arm", ("webdav.example.org", 80)),
        ("webdavs://webdavs.example.org/webdav", ("webdavs.example.org", 443)),
        ("ssh://me@webdav.example.org/arm", None),
    ],
)
def test_the_first_connection_goes_to_the_host_of_the_address(monkeypatch, url, host):
    tried = []
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr(
        "socket.create_connection", lambda address, timeout: tried.append(address) or io.BytesIO()
    )
    remote = object.__new__(Remote)
    remote.url, remote.endpoint = url, None
    remote._connect()
    assert tried == [host] * (host is not None)
