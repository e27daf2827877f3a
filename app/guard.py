"""Accept or refuse requests by their host name and by the page that sends them.

Any web page can make a browser on this machine send requests to 127.0.0.1: under a name that the
page's owner resolves to 127.0.0.1 (DNS rebinding), or across origins, for example from another
local port. Streamlit checks the host of WebSockets only, and accepts pages from every local port.
The guard runs before Streamlit and covers every request: pages, WebSocket, uploads, media, health.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import streamlit as st
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Guard:
    """Refuses requests for other hosts and from other origins, with status 403."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        reason = refusal(Headers(scope=scope))
        if reason is None:
            return await self.app(scope, receive, send)
        if scope["type"] == "websocket":
            return await WebSocketClose()(scope, receive, send)
        return await PlainTextResponse(f"{reason}\n", status_code=403)(scope, receive, send)


def refusal(headers: Headers) -> str | None:
    """Why a request with these headers is refused; None when it is accepted."""
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not is_accepted(hosts[0]):
        return (
            "This host name is not accepted. Accepted: 127.0.0.1, localhost, [::1], and the names "
            "in server.allowedHosts of .streamlit/config.toml (see docs/deployment.md)."
        )
    for origin in headers.getlist("origin"):
        if not _same(origin, hosts[0]) and origin not in st.get_option("server.corsAllowedOrigins"):
            return "This request comes from a page of another origin."
    return None


def is_accepted(host: str) -> bool:
    """Whether a `Host` header, with its port or without, names this app."""
    name = _name(host)
    return name is not None and (name in LOOPBACK or name in other_hosts())


def other_hosts() -> tuple[str, ...]:
    """The names in `server.allowedHosts` by which other machines reach the app.

    A name is matched as a whole; patterns such as `*` or `*.example.org` are ignored.
    """
    names = (str(name).strip().lower().strip("[]") for name in st.get_option("server.allowedHosts"))
    return tuple(name for name in names if name and "*" not in name and name not in LOOPBACK)


def _same(origin: str, host: str) -> bool:
    """Whether a page of `origin` was loaded from `host`: the name and the port, not the scheme.

    A proxy that terminates TLS forwards the host but not the scheme.
    """
    scheme, separator, place = origin.lower().partition("://")
    return scheme in ("http", "https") and bool(separator) and place == host.lower()


def _name(host: str) -> str | None:
    """The name in a `Host` header; None when it is malformed."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises ValueError when it is not a port
        if parts.netloc != host or parts.username is not None or parts.password is not None:
            return None
        return parts.hostname
    except ValueError:
        return None
