"""Who may do what: loopback, a login, or reading alone.

    loopback                        everybody on this machine, all buttons
    another address + OIDC          who logged in (Streamlit's own login, `[auth]` in secrets.toml)
    another address, no login       reading alone
    ARMATURE_READ_ONLY=1            reading alone, anywhere

`ARMATURE_PUBLISHED_ON_LOOPBACK=1` says that a container, which has to listen on all of its
addresses, is published on the host's loopback alone.
"""

from __future__ import annotations

import ipaddress
import os

import streamlit as st

from study import launch

READ_ONLY = "ARMATURE_READ_ONLY"
PUBLISHED = "ARMATURE_PUBLISHED_ON_LOOPBACK"


def read_only() -> bool:
    """Whether this app may not write: by its environment, or bound openly without a login."""
    return launch.read_only() or (open_to_others() and not has_login())


def open_to_others() -> bool:
    """Whether others than this machine reach the app."""
    address = st.get_option("server.address")
    return os.environ.get(PUBLISHED) != "1" and not is_loopback(address)


def is_loopback(address: str | None) -> bool:
    """Whether an address is this machine's own; no address means all of them."""
    if address in (None, ""):
        return False
    try:
        return ipaddress.ip_address(str(address)).is_loopback
    except ValueError:
        return address == "localhost"


def has_login() -> bool:
    """Whether an OIDC provider is configured (`[auth]` in .streamlit/secrets.toml)."""
    try:
        return "auth" in st.secrets
    except FileNotFoundError:
        return False


def check() -> None:
    """Before any page: ask for the login where one is configured and the address is open."""
    if open_to_others() and has_login() and not st.user.is_logged_in:
        st.title("Armature")
        st.write("This app is open to others, so it asks who you are.")
        st.button("Log in", on_click=st.login)
        st.stop()


def why_read_only() -> str:
    """The sentence that stands where the buttons would."""
    if launch.read_only():
        said = f"{READ_ONLY}={os.environ.get(READ_ONLY)}"
        return f"Reading alone: {said} is set, so nothing can be started or stopped here."
    return (
        f"Reading alone: the app listens on {st.get_option('server.address') or 'all addresses'} "
        "and asks for no login. Bind it to 127.0.0.1, or configure OIDC in .streamlit/secrets.toml."
    )
