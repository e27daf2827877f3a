"""Pulling and pushing through a folder, keys and addresses, the embedded remote, the cache."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

import pytest

from study.params import UserError
from study.stages import store as embedded
from study.stages.cache import cache_lines
from study.stages.conversation import NoRemote, wait_s
from study.stages.publish import publish
from study.stages.remote import Wanted, check, pull, push
from study.stages.remotes import add_remote, remote_lines, store_key
from study.stages.transfer import Remote

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
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in found}


@pytest.mark.slow
def test_one_arm_and_then_all_come_through_a_folder(fresh, tmp_path):
    status = tmp_path / "status.json"
    assert "control: here, 3 objects came" in pull(Wanted(fresh, ("control",)), status)
    assert files(fresh / "runs") == {f"control/{k}": v for k, v in ARMS["control"].items()}
    told = embedded.Path(status).read_text()
    assert '"state": "finished"' in told and '"done": 3' in told
    assert "flat: here, 2 objects came" in pull(Wanted(fresh)), "what is shared came already"
    assert files(fresh / "runs/flat") == ARMS["flat"]


@pytest.mark.slow
def test_files_that_nothing_keeps_are_not_overwritten(fresh):
    (fresh / "runs/control").mkdir(parents=True)
    (fresh / "runs/control/a.txt").write_text("mine")
    with pytest.raises(UserError, match="holds files that nothing stored keeps"):
        pull(Wanted(fresh, ("control",)))
    assert files(fresh / "runs/control") == {"a.txt": "mine"}


@pytest.mark.slow
def test_a_corrupted_object_is_never_sent_and_never_placed(fresh, top, tmp_path):
    for file in (tmp_path / "lab").rglob("*"):
        if file.is_file() and file.read_text() == "two":
            stored_checkout.spoil(file)
    with pytest.raises(UserError, match=r"runs/control/s1/b.txt is corrupted on remote 'lab'"):
        pull(Wanted(fresh))
    assert list((fresh / "runs").iterdir()) == [fresh / "runs/flat"]

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
    assert not fine and "nothing of this commit uses it" in line


@pytest.mark.slow
def test_publishing_takes_a_remote_that_others_know(fresh, top, tmp_path):
    said = publish(top, False, None)
    page = (top / "PUBLISHED.md").read_text()
    assert "study pull control" in page and "mind that only who can read" in said[-1]
    assert str(tmp_path / "top") not in page
    again = publish(top, False, None)
    assert (top / "PUBLISHED.md").read_text() == page and "0 objects to send" in again[1]
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
    with pytest.raises(UserError, match="known to this clone alone"):
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
    assert "switched off" in (embedded.settle(top) or "")
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
        ("lab", "ftp://host/x", None, "is no address"),
        ("lab", "s3://", None, "is no address"),
        ("lab", "webdavs://me:secret@host/x", None, "holds a password"),
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
