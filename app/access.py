"""Who may read and who may write: loopback, a login with a list of people, or read-only.

    loopback                        everybody on this machine may write
    open to others + login          people on the list in secrets.toml may read and write
    open to others + login, no list everybody who is logged in may read
    open to others, no login        everybody may read
    ARMATURE_READ_ONLY=1            nobody may write, wherever the app listens

The app is open to others when it listens on another address than loopback, or accepts another host
name (`server.allowedHosts`: a proxy on this machine forwards requests to loopback).
`ARMATURE_PUBLISHED_ON_LOOPBACK=1` declares that a container, which must listen on all its
addresses, is published only on the host's loopback address. The login is Streamlit's own (`[auth]`
in .streamlit/secrets.toml); the list is `[access]` in the same file.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError

from app import guard
from study import jobs
from study.settings import UserError

READ_ONLY = "ARMATURE_READ_ONLY"
PUBLISHED = "ARMATURE_PUBLISHED_ON_LOOPBACK"
SECRETS = ".streamlit/secrets.toml"


def read_only() -> bool:
    """Whether the user of this session may not write. Raises UserError for a malformed list."""
    return jobs.read_only() or (open_to_others() and not _is_listed())


def open_to_others() -> bool:
    """Whether the app can be reached from other machines."""
    address = st.get_option("server.address")
    bound = os.environ.get(PUBLISHED) != "1" and not is_loopback(address)
    return bound or bool(guard.other_hosts())


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
    return secret("auth") is not None


def check() -> None:
    """Called before any page: people who are not logged in, or not on the list, see nothing.

    Raises UserError for a malformed list.
    """
    if not (open_to_others() and has_login()):
        return
    if not st.user.is_logged_in:
        st.title("Armature")
        st.write("This app is open to others. Log in to use it.")
        st.button("Log in", on_click=st.login)
        st.stop()
    if _people() is not None and not _is_listed():
        st.title("Armature")
        st.text(f"The account {_email() or 'without an e-mail address'} may not use this app.")
        st.button("Log out", on_click=st.logout)
        st.stop()


def why_read_only() -> str:
    """The sentence that is shown instead of the buttons."""
    if jobs.read_only():
        setting = f"{READ_ONLY}={os.environ.get(READ_ONLY)}"
        return f"Read-only mode: {setting} is set, so nothing can be started or stopped here."
    if has_login():
        return (
            f"Read-only mode: {_email() or 'this account'} is not on the list of people who may "
            f"write. The list is [access] in {SECRETS}; a change takes effect after a restart."
        )
    return (
        "Read-only mode: others can reach the app at "
        f"{_reached_at()} without a login. "
        f"Bind it to 127.0.0.1, or configure a login and a list of people in {SECRETS}."
    )


def _reached_at() -> str:
    return ", ".join(guard.other_hosts()) or st.get_option("server.address") or "all addresses"


def _is_listed() -> bool:
    """Whether the account of this session may write.

    An address that the provider marks as unverified is not trusted, since anybody could claim it.
    """
    people, email = _people(), _email()
    if people is None or email is None or not st.user.is_logged_in:
        return False
    if str(st.user.get("email_verified", True)).lower() != "true":
        return False
    emails, domains = people
    return email in emails or email.rpartition("@")[2] in domains


def _email() -> str | None:
    """The e-mail address of the account, in lower case; None for one without."""
    if not (has_login() and st.user.is_logged_in):
        return None
    email = str(st.user.get("email") or "").strip().lower()
    name, _, domain = email.rpartition("@")
    return email if name and domain else None


def _people() -> tuple[frozenset[str], frozenset[str]] | None:
    """Accepted e-mail addresses and domains; None without a list. Raises UserError."""
    listed = secret("access")
    if listed is None:
        return None
    if not isinstance(listed, Mapping) or not set(listed) <= {"emails", "domains"}:
        raise _malformed()
    emails, domains = (_strings(listed.get(key, [])) for key in ("emails", "domains"))
    return emails, frozenset(domain.removeprefix("@") for domain in domains)


def _strings(value: Any) -> frozenset[str]:
    texts = isinstance(value, list) and all(isinstance(one, str) for one in value)
    found = frozenset(one.strip().lower() for one in value) if texts else frozenset([""])
    if "" in found:
        raise _malformed()
    return found


def _malformed() -> UserError:
    return UserError(
        f"[access] in {SECRETS} is malformed. Accepted are two lists of texts, both optional: "
        'emails = ["ada@example.org"] and domains = ["lab.example.org"]'
    )


def secret(section: str) -> Any:
    """A section of secrets.toml; None if it, or the file, is absent. Raises UserError.

    A file that cannot be parsed must not read as "no login": pages would be open to everybody.
    """
    try:
        return st.secrets.get(section)
    except StreamlitSecretNotFoundError as error:
        if error.error_id == "no-secrets-found":
            return None
        raise UserError(f"{SECRETS} cannot be read: it is not valid TOML") from None
