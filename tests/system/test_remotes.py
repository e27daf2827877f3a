"""Artifacts through real remotes: what one clone sends another gets, and every failure is a
sentence that leaves nothing lost or half placed.

The study is trained once; every server is started here, on a free port.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.toy import PARAMS, Toy, make_toy
from study.artifacts.outputs import outputs
from system import servers
from system.servers import KINDS, Server

sys.path.insert(0, str(Path(__file__).parent.parent / "stages"))
import stored_checkout

pytestmark = [pytest.mark.s3, pytest.mark.slow]
ARMS = ("control", "flat")
SMALL = PARAMS.replace("seeds: [1, 2]", "seeds: [1]").replace("epochs: 2", "epochs: 1")
FEW = SMALL[: SMALL.index("  cnn:")] + SMALL[SMALL.index("  flat:") :]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    toy = make_toy(tmp_path_factory.mktemp("trained"), params=FEW)
    toy.repro()
    toy.commit("reproduced")
    return toy


@pytest.fixture
def made(tmp_path: Path) -> Toy:
    """A checkout with stored outputs and no study: what fails on the way asks for no network."""
    content = {"best.pt": "weights " * 99, "history.csv": "epoch,val_loss\n1,0.5\n"}
    arms = {name: {f"s1/{file}": name + text for file, text in content.items()} for name in ARMS}
    stored_checkout.store(tmp_path / "made", arms)
    (tmp_path / "made/imported").mkdir()
    toy = Toy(tmp_path / "made")
    toy.must("dvc", "checkout", "-q")
    return toy


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """The servers of this module, started when first asked for."""
    started: dict[str, Server] = {}
    work = tmp_path_factory.mktemp("servers")

    class Lazy(dict):
        def __missing__(self, kind: str) -> Server:
            self[kind] = started[kind] = KINDS[kind](work)
            return self[kind]

    yield Lazy()
    for server in started.values():
        server.stop()


@pytest.fixture
def s3(running: dict[str, Server]) -> Server:
    server = running["s3"]
    for path in (server.folder / "bk").iterdir():
        shutil.rmtree(path)
    return server


def copy_of(trained: Toy, folder: Path) -> Toy:
    shutil.copytree(trained.path, folder, symlinks=True)
    return patient(Toy(folder))


def patient(toy: Toy) -> Toy:
    """A busy test machine may take long; only a host that never answers is waited for as usual."""
    toy.environment["ARMATURE_REMOTE_WAIT_S"] = "120"
    return toy


def owner_of(trained: Toy, folder: Path, server: Server) -> Toy:
    """A checkout that computed the study, with this remote, nothing sent yet."""
    owner = copy_of(trained, folder)
    server.join(owner)
    owner.commit("remote")
    return owner


def clone(owner: Toy, folder: Path, server: Server | None) -> Toy:
    owner.must("git", "clone", "-q", str(owner.path), str(folder))
    fresh = patient(Toy(folder))
    if server:
        server.give_key(fresh)
    return fresh


def refused(toy: Toy, *command: str) -> str:
    """The sentence of a command that must fail as a user's mistake does."""
    done = toy.run(*command)
    print(f"$ {' '.join(command)}\n{done.stderr}")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def cached(toy: Toy) -> list[Path]:
    cache = toy.path / ".dvc/cache/files/md5"
    return sorted(cache.glob("??/*"))


def whole(toy: Toy) -> bool:
    names = [(path, path.parent.name + path.name[:30]) for path in cached(toy)]
    return all(hashlib.md5(path.read_bytes()).hexdigest() == oid for path, oid in names)


def oid_of(toy: Toy, file: str) -> str:
    return hashlib.md5((toy.path / file).read_bytes()).hexdigest()


@pytest.mark.parametrize("kind", KINDS)
def test_what_one_clone_sends_another_gets(kind, running, trained, tmp_path):
    server = running[kind]
    owner = owner_of(trained, tmp_path / "owner", server)
    assert "wrote, read and removed" in owner.must("study", "remote", "check")
    assert server.objects() == []
    output = owner.must("study", "push")
    sent = len(server.objects())
    assert f"{sent} objects to upload, 0 are already there" in output
    assert f"0 objects to upload, {sent} are already there" in owner.must("study", "push")

    fresh = clone(owner, tmp_path / "fresh", server)
    assert "control" in fresh.must("study", "results"), "the numbers are there before any pull"
    assert "control: here" in fresh.must("study", "pull", "control")
    assert [path.name for path in (fresh.path / "runs").glob("[!.]*")] == ["control"]
    assert not (fresh.path / "data").exists()
    output = fresh.must("dvc", "repro", "--allow-missing")
    assert "Running stage" not in output, "one arm is here, and nothing runs"
    fresh.must("study", "pull")
    assert fresh.repro() == [], "everything is here, and nothing runs"
    assert "all numbers equal" in fresh.must("study", "verify")
    assert fresh.must("git", "status", "--porcelain") == ""


def test_a_corrupted_object_is_refused_named_and_mended(s3, made, tmp_path):
    owner = owner_of(made, tmp_path / "owner", s3)
    owner.must("study", "push")
    oid = oid_of(owner, "runs/control/s1/best.pt")
    content = bytearray(s3.object(oid).read_bytes())
    content[100] ^= 1
    s3.object(oid).write_bytes(content)

    fresh = clone(owner, tmp_path / "fresh", s3)
    output = refused(fresh, "study", "pull")
    assert "runs/control/s1/best.pt is corrupted on remote 'lab'" in output and oid in output
    assert not (fresh.path / "runs/control").exists(), "an arm is placed whole or not at all"
    assert (fresh.path / "runs/flat").is_dir(), "the others are placed"
    assert whole(fresh)

    owner.must("study", "push", "--again", "control")
    assert "control: here, 1 objects downloaded" in fresh.must("study", "pull", "control")


def test_a_corrupted_listing_is_refused_and_named(s3, made, tmp_path):
    owner = owner_of(made, tmp_path / "owner", s3)
    owner.must("study", "push")
    (listing,) = (item.md5 for item in outputs(owner.path) if item.name == "control")
    s3.object(listing).write_text("[]")
    fresh = clone(owner, tmp_path / "fresh", s3)
    output = refused(fresh, "study", "pull", "control")
    assert "the listing of runs/control is corrupted on remote 'lab'" in output
    assert not (fresh.path / "runs").exists() and cached(fresh) == []


def test_a_missing_object_is_named_and_sent_again(s3, made, tmp_path):
    owner = owner_of(made, tmp_path / "owner", s3)
    owner.must("study", "push")
    oid = oid_of(owner, "runs/control/s1/history.csv")
    s3.object(oid).unlink()
    fresh = clone(owner, tmp_path / "fresh", s3)
    output = refused(fresh, "study", "pull", "control")
    assert "runs/control/s1/history.csv is missing on remote 'lab'" in output and oid in output
    assert not (fresh.path / "runs").exists()
    assert "1 objects to upload" in owner.must("study", "push"), "the remote is asked, not an index"
    fresh.must("study", "pull", "control")
    assert (fresh.path / "runs/control/s1/history.csv").is_file()


def test_a_push_that_was_killed_goes_on_where_it_was(s3, made, tmp_path):
    owner = owner_of(made, tmp_path / "owner", s3)
    many = owner.path / "imported/many"
    many.mkdir()
    for number in range(200):
        (many / f"f{number}.bin").write_bytes(number.to_bytes(2, "big") * 100_000)
    owner.must("dvc", "add", "-q", "imported/many")
    total = len(sendable(owner))

    process = subprocess.Popen(
        ("study", "push"), cwd=owner.path, env=owner.environment, stdout=subprocess.DEVNULL
    )
    while len(s3.objects()) < 20:
        assert process.poll() is None
        time.sleep(0.01)
    for one in [*psutil.Process(process.pid).children(recursive=True), process]:
        one.send_signal(signal.SIGKILL)
    process.wait()
    settle(s3)
    # s3rver shows an object while it is written, so what was cut short is there too.
    before = {path: path.stat().st_mtime_ns for path in s3.objects() if complete(path)}
    assert 0 < len(before) < total, "killed in the middle"

    output = owner.must("study", "push")
    print(output)
    assert f"{total - len(before)} objects to upload, {len(before)} are already there" in output
    assert {p: p.stat().st_mtime_ns for p in before} == before, "nothing is sent twice"
    fresh = clone(owner, tmp_path / "fresh", s3)
    (fresh.path / "imported").mkdir()
    shutil.copy(owner.path / "imported/many.dvc", fresh.path / "imported/many.dvc")
    fresh.must("study", "pull", "imported/many")
    assert len(list((fresh.path / "imported/many").iterdir())) == 200 and whole(fresh)


def settle(server: Server) -> None:
    """Wait until the server has written what it had received before the kill."""
    seen: list[tuple[Path, int]] = []
    while (now := sorted((path, path.stat().st_size) for path in server.objects())) != seen:
        seen = now
        time.sleep(2.0)


def complete(path: Path) -> bool:
    oid = path.parent.name + path.name[:30]
    return hashlib.md5(path.read_bytes()).hexdigest() == oid


def sendable(toy: Toy) -> set[str]:
    """Objects of everything that belongs on a remote."""
    found = set()
    for item in outputs(toy.path):
        listing = toy.path / ".dvc/cache/files/md5" / item.md5[:2] / item.md5[2:]
        found |= {item.md5, *(entry["md5"] for entry in json.loads(listing.read_text()))}
    return found


def test_a_killed_pull_leaves_a_checkout_that_pulls_again(s3, made, tmp_path):
    owner = owner_of(made, tmp_path / "owner", s3)
    owner.must("study", "push")
    fresh = clone(owner, tmp_path / "fresh", s3)
    process = subprocess.Popen(
        ("study", "pull"), cwd=fresh.path, env=fresh.environment, stdout=subprocess.DEVNULL
    )
    while process.poll() is None and len(cached(fresh)) < 3:
        time.sleep(0.01)
    for one in [*psutil.Process(process.pid).children(recursive=True), process]:
        one.send_signal(signal.SIGKILL)
    process.wait()
    assert whole(fresh), "what reached the cache is whole"
    fresh.must("study", "pull")
    assert list((fresh.path / ".dvc/cache/files/md5").glob(".pull-*")) == []


def test_every_refusal_is_a_sentence(s3, running, made, tmp_path):
    owner = owner_of(made, tmp_path / "owner", s3)
    owner.must("study", "push")
    fresh = clone(owner, tmp_path / "fresh", None)

    def says(*words: str) -> None:
        for command in (
            ("study", "pull", "control"),
            ("study", "push"),
            ("study", "remote", "check"),
        ):
            output = refused(fresh, *command)
            assert all(word in output for word in ("'lab'", *words)), output
        assert not (fresh.path / "runs").exists() and cached(fresh) == []

    says("refused the key", "study remote key lab")
    fresh.must("dvc", "remote", "modify", "--local", "lab", "access_key_id", "NOBODY")
    fresh.must("dvc", "remote", "modify", "--local", "lab", "secret_access_key", "x")
    says("refused the key", "InvalidAccessKeyId")
    s3.give_key(fresh)
    fresh.must("dvc", "remote", "modify", "--local", "lab", "url", "s3://nowhere/arm")
    says("no such bucket or folder", "s3://nowhere/arm")
    fresh.must("dvc", "remote", "modify", "--local", "lab", "url", "s3://bk/arm")
    closed = f"http://127.0.0.1:{servers.free_port()}"
    fresh.must("dvc", "remote", "modify", "--local", "lab", "endpointurl", closed)
    says("is not reachable", closed)
    doctor = fresh.run("study", "doctor")
    assert doctor.returncode == 0 and "remote: remote 'lab' is not reachable" in doctor.stdout


def test_a_host_that_never_answers_ends_in_a_sentence(s3, made, tmp_path):
    owner = owner_of(made, tmp_path / "owner", s3)
    owner.environment.pop("ARMATURE_REMOTE_WAIT_S")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        owner.must("dvc", "remote", "modify", "--local", "lab", "endpointurl", address)
        assert f"did not answer within 8 s: s3://bk/arm at {address}" in refused(
            owner, "study", "push"
        )
        ssh = f"ssh://me@127.0.0.1:{silent.getsockname()[1]}/arm"
        owner.must("study", "remote", "add", "other", ssh)
        assert "remote 'other' did not answer within 8 s: ssh://me@" in refused(
            owner, "study", "pull"
        )


def test_ssh_and_webdav_refuse_a_wrong_key_in_a_sentence(running, made, tmp_path):
    for kind in ("ssh", "webdav"):
        owner = owner_of(made, tmp_path / kind, running[kind])
        if kind == "ssh":
            other = Path(running["ssh"].credentials[1]).with_name("other")
            owner.must("study", "remote", "key", "lab", "--file", str(other))
        else:
            owner.must("dvc", "remote", "modify", "--local", "lab", "password", "wrong")
        assert "remote 'lab' refused the key" in refused(owner, "study", "push")
        assert "remote 'lab' refused the key" in refused(owner, "study", "pull", "control")


def test_a_remote_for_reading_only_says_so(made, tmp_path):
    server = servers.webdav(tmp_path, "--read-only")
    try:
        owner = owner_of(made, tmp_path / "owner", server)
        assert "remote 'lab' is not writable" in refused(owner, "study", "push")
    finally:
        server.stop()


def test_publishing_leaves_a_page_that_a_colleague_can_follow(s3, trained, tmp_path):
    owner = copy_of(trained, tmp_path / "owner")
    assert "no colleague reaches" in refused(owner, "study", "publish").replace("\n", " ")
    s3.join(owner)
    assert "commit your changes first" in refused(owner, "study", "publish")
    owner.commit("remote")
    print(owner.must("study", "publish"))
    page = (owner.path / "PUBLISHED.md").read_text()
    assert owner.must("git", "rev-parse", "HEAD").strip() in page and "s3://bk/arm" in page
    owner.commit("publish")
    fresh = clone(owner, tmp_path / "fresh", s3)
    for line in page.split("```sh\n")[1].split("```")[0].splitlines()[2:]:
        output = fresh.must(*line.partition("#")[0].split())
        assert "Running stage" not in output, line
    assert fresh.must("git", "status", "--porcelain") == ""
