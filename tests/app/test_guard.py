"""The guard: requests for other hosts and from other origins reach nothing of the app."""

from __future__ import annotations

import asyncio
import http.client
import os
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit import config
from streamlit.web.server.starlette import starlette_websocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from study.reading import read_yaml
from system.app_server import ROOT, AppServer

# Host, Origin (None: the header is absent): the port is the one the app listens on.
ACCEPTED = [
    ("127.0.0.1:8501", None),
    ("localhost:8501", None),
    ("LOCALHOST:8501", "http://localhost:8501"),
    ("[::1]:8501", "http://[::1]:8501"),
    ("localhost", "http://localhost"),
    ("127.0.0.1:8501", "http://127.0.0.1:8501"),
]
REFUSED = [
    ("evil.example:8501", "http://evil.example:8501"),  # DNS rebinding
    ("evil.example:8501", None),
    ("evil.example", None),
    ("127.0.0.1.evil.example:8501", None),
    ("evil.example#127.0.0.1", None),
    ("evil.example@127.0.0.1:8501", None),
    ("127.0.0.1:8501@evil.example", None),
    ("127.0.0.1:port", None),
    ("", None),
    ("0.0.0.0:8501", "http://0.0.0.0:8501"),
    ("127.0.0.1:8501", "http://127.0.0.1:9000"),  # a page of another local port
    ("127.0.0.1:8501", "http://localhost:8501"),
    ("127.0.0.1:8501", "http://evil.example"),
    ("127.0.0.1:8501", "http://127.0.0.1:8501.evil.example"),
    ("127.0.0.1:8501", "null"),
    ("127.0.0.1:8501", "file://127.0.0.1:8501"),
    ("127.0.0.1:8501", ""),
]


def answered(kind: str, *headers: tuple[str, str]) -> list[dict]:
    """What a client is sent; the app behind the guard sends `reached`."""
    from app.guard import Guard

    sent: list[dict] = []

    async def app(scope, receive, send) -> None:
        await send({"type": "reached"})

    async def send(message: dict) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in headers]
    scope = {"type": kind, "headers": raw, "method": "PUT", "path": "/_stcore/upload_file/a/b"}
    asyncio.run(Guard(app)(scope, None, send))
    return sent


def given(host: str, origin: str | None) -> list[tuple[str, str]]:
    return [("host", host), *([] if origin is None else [("origin", origin)])]


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(("host", "origin"), ACCEPTED)
def test_this_machine_reaches_the_app(kind, host, origin):
    assert answered(kind, *given(host, origin)) == [{"type": "reached"}]


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(("host", "origin"), REFUSED)
def test_other_hosts_and_origins_are_refused(kind, host, origin):
    first, *rest = answered(kind, *given(host, origin))
    if kind == "http":
        assert first["status"] == 403
    else:
        assert first["type"] == "websocket.close" and not rest


@pytest.mark.parametrize("hosts", [(), ("127.0.0.1:8501", "evil.example")])
def test_a_request_names_one_host(hosts):
    assert answered("http", *(("host", host) for host in hosts))[0]["status"] == 403


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"server.allowedHosts": ["armature.example.org", "127.0.0.1", "*", "*.example.com"]}
    known = config.get_option
    monkeypatch.setattr("streamlit.get_option", lambda name: options.get(name, known(name)))


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize("origin", ["https://armature.example.org", None])
def test_a_name_of_ones_own_is_accepted_behind_a_proxy_that_ends_tls(origin):
    assert answered("http", *given("armature.example.org", origin)) == [{"type": "reached"}]


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize("host", ["evil.example", "sub.example.com", "*", "example.org"])
def test_a_pattern_opens_the_app_to_no_other_name(host):
    assert answered("http", *given(host, None))[0]["status"] == 403


@pytest.mark.usefixtures("named")
def test_a_name_of_ones_own_opens_the_app_to_others(monkeypatch):
    """A proxy on this machine hands the requests of others on to loopback."""
    from app import access

    monkeypatch.setenv(access.PUBLISHED, "1")
    assert access.open_to_others() and access.read_only()


# --- Streamlit's own check, for a server that is started without the guard --------------------


def allowed_hosts(environment: dict[str, str]) -> list[str]:
    """`server.allowedHosts` as a server that is started in this checkout has it."""
    done = subprocess.run(
        [sys.executable, "-m", "streamlit", "config", "show"], cwd=ROOT, text=True,
        env=os.environ | environment, capture_output=True, check=True, timeout=300,
    )  # fmt: skip
    shown = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    [hosts] = re.findall(r"^allowedHosts = \[(.*?)\]", shown, re.DOTALL | re.MULTILINE)
    return re.findall('"(.*?)"', hosts)


def composed(**environment: str) -> str:
    """STREAMLIT_SERVER_ALLOWED_HOSTS as compose.yaml gives it to the app's container."""
    services = read_yaml(ROOT / "compose.yaml")["services"]
    template = services["app"]["environment"]["STREAMLIT_SERVER_ALLOWED_HOSTS"]
    name, default = re.fullmatch(r"\$\{(\w+):-(.*)\}", template).groups()
    return environment.get(name) or default


def test_streamlit_itself_refuses_other_hosts(monkeypatch):
    from app.guard import LOOPBACK

    hosts = tomllib.loads((ROOT / ".streamlit/config.toml").read_text())["server"]["allowedHosts"]
    assert hosts == list(LOOPBACK) == allowed_hosts({})
    known = config.get_option
    monkeypatch.setattr(
        config, "get_option", lambda name: hosts if name == "server.allowedHosts" else known(name)
    )
    for host in ("127.0.0.1:8501", "localhost:8501", "[::1]:8501"):
        assert starlette_websocket.is_host_allowed(host), host
    for host in ("evil.example:8501", "192.168.0.9", "127.0.0.1.evil.example"):
        assert not starlette_websocket.is_host_allowed(host), host


@pytest.mark.slow
@pytest.mark.parametrize("hosts", ["", "armature.example.org 127.0.0.1 localhost"])
def test_the_hosts_of_a_container_reach_streamlit(hosts):
    from app.guard import LOOPBACK

    given = composed(ARMATURE_HOSTS=hosts)
    found = allowed_hosts({"STREAMLIT_SERVER_ALLOWED_HOSTS": given})
    assert found == (hosts.split() or list(LOOPBACK))
    assert f'ARMATURE_HOSTS="{hosts}"' in (ROOT / "docs/deployment.md").read_text() or not hosts


# --- the server itself ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    folder: Path = tmp_path_factory.mktemp("guarded")
    started = AppServer(folder, folder / "app.log").start()
    yield started
    started.kill()


def answer(
    server: AppServer, method: str, path: str, host: str, origin: str | None
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    headers = {name.title(): value for name, value in given(host, origin)}
    try:
        connection.request(method, path, b"", headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/findings"),
        ("GET", "/_stcore/health"),
        ("GET", "/_stcore/host-config"),
        ("GET", "/media/0.png"),
        ("GET", "/component/a/b"),
        ("GET", "/auth/login"),
        ("OPTIONS", "/_stcore/upload_file/a/b"),
        ("PUT", "/_stcore/upload_file/a/b"),
        ("DELETE", "/_stcore/upload_file/a/b"),
    ],
)
def test_every_endpoint_is_behind_the_guard(server, method, path):
    own = f"127.0.0.1:{server.port}"
    accepted = answer(server, method, path, own, f"http://{own}")
    for host, origin in ((own, "http://127.0.0.1:1"), (f"evil.example:{server.port}", None)):
        refused = answer(server, method, path, host, origin)
        assert refused[0] == 403 and refused != accepted  # Streamlit asks for a token of its own


def opened(server: AppServer, host: str, origin: str | None) -> bool:
    """Whether the WebSocket that drives the app opens."""
    raw = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    options = {"sock": raw, "origin": origin, "subprotocols": ["streamlit"], "proxy": None}
    try:
        with connect(f"ws://{host}/_stcore/stream", **options):
            return True
    except InvalidStatus as error:
        assert error.response.status_code == 403
        return False


@pytest.mark.slow
def test_the_websocket_opens_for_pages_of_the_app_only(server):
    own = f"127.0.0.1:{server.port}"
    foreign = f"evil.example:{server.port}"
    assert opened(server, own, f"http://{own}")
    assert not opened(server, foreign, f"http://{foreign}")
    for port in (1, server.port + 1):
        assert not opened(server, own, f"http://127.0.0.1:{port}")
        assert not opened(server, own, f"http://localhost:{port}")
