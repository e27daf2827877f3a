"""The Dockerfile built for real, and the image used as its users use it.

One base, one image, one story (about six minutes, of which five are debootstrap and pip).
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.toy import make_toy
from system.container_engine import ROOT, Engine, PipSettings, must

pytestmark = [pytest.mark.container, pytest.mark.slow]

IMAGE = "localhost/armature:cpu"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
CPU_LIMIT_BYTES = 2.6e9  # the filters of hdf5plugin take 0.19 GB of it
WORKER = 1000
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
CACHE_ON = ("-e", "DVC_SYSTEM_CONFIG_DIR=/opt/armature/dvc-on-cache")


def base_name() -> str:
    found = re.search(r"^ARG BASE_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert found
    return found[1]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    # Short: podman refuses a long path for its sockets.
    engine = Engine(Path(tempfile.mkdtemp(prefix="arm-")))
    try:
        engine.make_base(base_name(), suite=base_name().rsplit("-", 1)[-1])
        yield engine
    finally:
        engine.close()


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git knows of this checkout: the build context of a fresh clone."""
    context = tmp_path_factory.mktemp("context")
    names = must("git", "ls-files", "-co", "--exclude-standard", cwd=ROOT).splitlines()
    for name in names:
        if (ROOT / name).is_file():
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, context / name)
    # What a used checkout holds besides, and no image may.
    for secret in (".env", ".dvc/config.local", ".streamlit/secrets.toml", "study/.env"):
        (context / secret).write_text("password")
    return context


@pytest.fixture(scope="module")
def lent(engine: Engine) -> tuple[PipSettings, list[str]]:
    """pip's configuration on this machine, and the options that lend it to a build."""
    settings = PipSettings()
    options = [*settings.options(engine.folder / "pip.conf"), "--build-arg", "TORCH=cpu"]
    return settings, options


@pytest.fixture(scope="module")
def image(engine: Engine, context: Path, lent: tuple[PipSettings, list[str]]) -> str:
    engine.build(context, IMAGE, *lent[1])
    return IMAGE


@pytest.fixture(scope="module")
def clone(engine: Engine, image: str) -> Path:
    """A small study in a checkout that belongs to the numeric user, as `git clone` leaves it."""
    clone = engine.folder / "clone"
    clone.mkdir()
    make_toy(clone)
    (engine.folder / "cache").mkdir()
    for folder in (clone, engine.folder / "cache"):
        must("chown", "-R", f"{WORKER}:{WORKER}", folder)
    engine.folder.chmod(0o755)
    return clone


def strangers(*folders: Path) -> list[Path]:
    """Files that do not belong to the numeric user."""
    return [
        path
        for folder in folders
        for path in (folder, *folder.rglob("*"))
        if path.lstat().st_uid != WORKER
    ]


def steps(log: str) -> dict[str, bool]:
    """Each step of a build log, and whether its layer came from the cache."""
    found: dict[str, bool] = {}
    step = ""
    for line in log.splitlines():
        if match := re.match(r"STEP \d+/\d+: (.*)", line):
            step = match[1]
            found[step] = False
        elif line.startswith("--> Using cache"):
            found[step] = True
    return found


def of(log: str, word: str) -> bool:
    """Whether the one step that holds `word` came from the cache."""
    chosen = [cached for step, cached in steps(log).items() if word in step]
    assert len(chosen) == 1, f"{word!r} in {len(chosen)} steps"
    return chosen[0]


def test_the_image_is_small_and_says_how_to_use_it(engine: Engine, image: str) -> None:
    described = json.loads(engine.podman("inspect", image))[0]
    print(f"\nimage size: {described['Size'] / 1e9:.2f} GB")
    assert described["Size"] < CPU_LIMIT_BYTES
    settings = described["Config"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", settings["User"]), "a numeric user that is not root"
    assert settings["Entrypoint"][0] == "/usr/bin/tini"
    environment = dict(pair.split("=", 1) for pair in settings["Env"])
    assert environment["NVIDIA_VISIBLE_DEVICES"] == "all"
    assert environment["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"
    assert "healthy.py" in " ".join(described["Healthcheck"]["Test"])


def test_nothing_of_the_builder_stays_in_the_image(
    engine: Engine, image: str, lent: tuple[PipSettings, list[str]]
) -> None:
    inside = must_run(engine, "sh", "-c", "cat /etc/pip.conf 2>/dev/null; env; pip config list")
    message = inside + engine.podman("inspect", image)
    message += engine.podman("history", "--no-trunc", image)
    for name, parts in lent[0].values.items():
        for part in parts:
            # A number says nothing, and the bundle's usual path is Debian's own.
            if not part.isdigit() and name != "cert":
                assert part not in message, f"{name} {part}"
    for path in lent[0].paths():
        if path.is_dir():
            left = f"ls -A {path} 2>/dev/null | wc -l"
            assert must_run(engine, "sh", "-c", left).strip() == "0", path
    looked = "cd /study; find . -name .env -o -name '*.local' -o -name secrets.toml -o -name .git"
    assert must_run(engine, "sh", "-c", looked).strip() == ""


def test_an_unchanged_build_runs_nothing_and_changed_code_no_pip(
    engine: Engine, context: Path, image: str, lent: tuple[PipSettings, list[str]]
) -> None:
    again = engine.build(context, image, *lent[1])
    ran = [step for step, cached in steps(again).items() if not cached]
    assert [step for step in ran if step.startswith(("RUN", "COPY"))] == []
    code = context / "study" / "reading.py"
    code.write_text(code.read_text() + "# a comment\n")
    changed = engine.build(context, "localhost/armature:changed", *lent[1])
    assert of(changed, "-r installed.txt"), "dependencies are installed anew for a changed comment"
    assert of(changed, "apt-get")
    assert not of(changed, "COPY . /study")


def test_the_numeric_user_has_one_whole_environment(engine: Engine, image: str) -> None:
    asked = (
        "import os, sys, torch, lightning, streamlit, dvc, study, matplotlib.pyplot as plt; "
        "plt.figure(); print(os.getuid(), sys.prefix, torch.version.cuda, study.__file__)"
    )
    words = must_run(engine, "python", "-c", asked).split()
    assert words == [str(WORKER), "/opt/armature", "None", "/study/study/__init__.py"]
    closed = "find /opt/armature /study ! -type l ! -perm -o=r"
    assert must_run(engine, "sh", "-c", closed).strip() == "", "another user cannot read these"
    assert must_run(engine, "cat", "/proc/1/comm").strip() == "tini"


def test_a_container_says_what_will_not_work(engine: Engine, image: str, clone: Path) -> None:
    bare = engine.run(image, "true")
    assert bare.returncode == 0 and "no checkout is mounted at /study" in bare.stderr
    mounted = ("-v", f"{clone}:/study")
    fine = engine.run(image, "true", options=mounted)
    assert fine.returncode == 0 and fine.stderr == ""
    log = ("git", "log", "--format=%s")
    other = engine.run(image, *log, options=(*mounted, "--user", "4242:4242"))
    assert f"belongs to {WORKER}:{WORKER}" in other.stderr and f"--user {WORKER}" in other.stderr
    assert other.stdout.strip() == "toy", "git reads a checkout of another owner"
    root = engine.run(image, "true", options=(*mounted, "--user", "0:0"))
    assert "running as root" in root.stderr
    old = clone / "requirements.lock"
    kept = old.read_text()
    old.write_text(kept + "# newer\n")
    assert "build the image again" in engine.run(image, "true", options=mounted).stderr
    old.write_text(kept)


def test_a_study_on_a_mounted_checkout_is_reproduced(engine: Engine, clone: Path) -> None:
    cache = engine.folder / "cache"
    options = ("-v", f"{clone}:/study", "-v", f"{cache}:/cache", *CACHE_ON)
    first = engine.run(IMAGE, "dvc", "repro", options=options)
    assert first.returncode == 0, first.stdout + first.stderr
    assert {"train@control", "train@cnn"} <= set(re.findall(r"stage '([^']+)'", first.stdout))
    assert json.loads((clone / "findings.json").read_text()) is not None
    assert (clone / "runs" / "control" / "s1" / "object_last.npz").is_file()
    assert any((cache / "files").rglob("*.dir")), "the cache lies in the volume"
    assert not (clone / ".dvc" / "cache" / "files").exists()
    second = engine.run(IMAGE, "dvc", "repro", options=options)
    assert "Running stage" not in second.stdout and "up to date" in second.stdout
    ours = json.loads((clone / "provenance" / "control" / "s1.json").read_text())["environment"]
    assert ours["commit"] and ours["dirty"] is False, "git answers inside of the container"
    assert strangers(clone, cache) == []


def test_the_app_is_healthy_and_stops_when_asked(engine: Engine, clone: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["-d", "--name", "app", "-v", f"{clone}:/study", *CACHE_ON]
    options += ["-e", f"STREAMLIT_SERVER_PORT={port}", "-e", "ARMATURE_PUBLISHED_ON_LOOPBACK=1"]
    options += ["-e", "STREAMLIT_SERVER_ADDRESS=0.0.0.0"]
    sick = engine.run(IMAGE, "python", "/opt/armature/healthy.py", options=options[5:])
    assert sick.returncode == 1, "nothing answers before the app is up"
    started = engine.run(IMAGE, options=options)
    assert started.returncode == 0, started.stderr
    try:
        assert answer(port, "/_stcore/health", engine) == b"ok"
        assert b"<title>" in answer(port, "/", engine)
        checked = engine.exec("app", "python", "/opt/armature/healthy.py")
        assert checked.returncode == 0, checked.stderr
    finally:
        logs = engine.podman("logs", "app")
        engine.podman("stop", "--time", "30", "app")
    assert "Traceback" not in logs
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        pass
    assert strangers(clone) == []


def must_run(engine: Engine, *command: str) -> str:
    done = engine.run(IMAGE, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def answer(port: int, path: str, engine: Engine) -> bytes:
    """The page, as soon as it is there; two minutes are for a machine that has other work."""
    until = time.monotonic() + 120
    while True:
        try:
            with DIRECT.open(f"http://127.0.0.1:{port}{path}", timeout=10) as page:
                return page.read()
        except (urllib.error.URLError, OSError):
            if time.monotonic() > until:
                raise AssertionError(engine.podman("logs", "app")) from None
            time.sleep(0.5)
