"""What goes into an image and how it is offered, without building one (tests/system does that)."""

from __future__ import annotations

import http.server
import importlib.metadata
import os
import re
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent.parent
CONTAINER = ROOT / "tools" / "container"
sys.path[:0] = [str(ROOT / "tools"), str(CONTAINER)]

import image  # noqa: E402
from runtime import kept, name_of  # noqa: E402

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LEFT_OUT = {
    line for line in (CONTAINER / "development.txt").read_text().splitlines() if line[0] != "#"
}

# It checks the listings of the cache before DVC runs.
CHECKED = ["python", "-m", "study.artifacts.listings", "repro"]


def compose(name: str) -> dict:
    return YAML(typ="safe").load((ROOT / name).read_text())


def test_hadolint_finds_nothing():
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def needed(requirement: Requirement, seen: dict[tuple[str, frozenset[str]], None]) -> None:
    """Everything that an installed package asks for, its extras included, into `seen`."""
    key = (name_of(requirement.name), frozenset(requirement.extras))
    if key in seen:
        return
    seen[key] = None
    try:
        asked = importlib.metadata.requires(requirement.name) or []
    except importlib.metadata.PackageNotFoundError:
        return  # of another platform
    for line in asked:
        part = Requirement(line)
        extras = ("", *requirement.extras)
        if part.marker is None or any(part.marker.evaluate({"extra": extra}) for extra in extras):
            needed(part, seen)


def test_the_image_leaves_out_the_tools_of_developers_and_nothing_that_the_study_needs():
    seen: dict[tuple[str, frozenset[str]], None] = {}
    for line in PROJECT["dependencies"]:
        needed(Requirement(line), seen)
    assert {name for name, _ in seen} & LEFT_OUT == set()
    tools = {name_of(Requirement(line).name) for line in PROJECT["optional-dependencies"]["dev"]}
    # websockets: the app needs it too.
    assert tools - LEFT_OUT <= {name for name, _ in seen}


@pytest.mark.parametrize("file", ["requirements.lock", "requirements-cpu.txt"])
def test_what_is_left_of_a_lock_is_whole(file):
    lock = (ROOT / file).read_text()
    rest = "".join(kept(lock, LEFT_OUT))
    pins = {name_of(line) for line in lock.splitlines()} - {""}
    assert {name_of(line) for line in rest.splitlines()} - {""} == pins - LEFT_OUT
    assert "".join(kept(lock, set())) == lock
    if file == "requirements.lock":
        entries = re.split(r"^(?=\w)", rest, flags=re.MULTILINE)[1:]
        assert all("--hash=sha256:" in entry for entry in entries)


def test_the_app_is_published_on_this_machine_alone_and_only_then_says_so():
    services = compose("compose.yaml")["services"]
    for service in services.values():
        ports = service.get("ports", [])
        assert all(port.startswith("127.0.0.1:") for port in ports)
        output = service.get("environment", {}).get("ARMATURE_PUBLISHED_ON_LOOPBACK")
        assert output == ("1" if ports else None)
    assert services["app"]["ports"] and services["study"]["command"] == CHECKED
    assert services["app"]["environment"]["STREAMLIT_SERVER_ADDRESS"] == "0.0.0.0"
    image_alone = (ROOT / "Dockerfile").read_text()
    assert "ARMATURE_PUBLISHED" not in image_alone and "0.0.0.0" not in image_alone


def test_the_gpu_file_changes_the_image_and_asks_for_gpus_in_every_service():
    plain, gpu = compose("compose.yaml"), compose("compose.gpu.yaml")
    assert plain["services"].keys() == gpu["services"].keys()
    for name, service in gpu["services"].items():
        assert service["image"] != plain["services"][name]["image"]
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert device["driver"] == "nvidia" and device["capabilities"] == ["gpu"]
        for torch, source in (("cpu", plain), ("cuda", gpu)):
            assert source["services"][name]["build"]["args"] == {"TORCH": torch}
            assert source["services"][name]["image"] == f"armature:{torch}"


def test_an_engine_gets_the_build_as_arguments(tmp_path):
    engine = tmp_path / "podman"
    engine.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    engine.chmod(0o755)
    done = make_image(tmp_path, "cpu", "--pull=never")
    words = ["build", "--format", "docker", "--build-arg", "TORCH=cpu", "-t", "armature:cpu"]
    assert done.returncode == 0
    assert done.stdout.splitlines()[1:-1] == [*words, "--pull=never", "."]
    assert "--format" not in image.command("docker", "cpu", "armature:cpu", [])


def test_an_image_that_cannot_be_built_is_a_sentence(tmp_path):
    nothing = make_image(tmp_path, "cpu")
    assert nothing.returncode == 2 and "docker, podman, buildah" in nothing.stderr
    assert "make setup" in nothing.stderr and nothing.stdout == ""
    wrong = make_image(tmp_path, "rocm")
    assert wrong.returncode == 2 and "'rocm'; accepted: auto, cpu, cuda" in wrong.stderr
    (tmp_path / "docker").write_text("#!/bin/sh\nexit 7\n")
    (tmp_path / "docker").chmod(0o755)
    failed = make_image(tmp_path, "cuda")
    assert failed.returncode == 2 and "exit code 7" in failed.stderr


def make_image(path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "tools" / "image.py", *words],
        env={**os.environ, "PATH": str(path)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (None, 1)])
def test_healthy_means_that_the_app_answers(status, code):
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status if self.path == "/_stcore/health" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        port = server.server_port
        if status is None:
            server.server_close()
        else:
            threading.Thread(target=server.handle_request, daemon=True).start()
        environment = {**os.environ, "STREAMLIT_SERVER_PORT": str(port), "http_proxy": "http://x"}
        done = subprocess.run([sys.executable, CONTAINER / "healthy.py"], env=environment)
        assert done.returncode == code
