"""Who may read and write where the app is open to others: every write asks the list of people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest
from test_actions import ACTIONS

from study.settings import UserError

ROOT = Path(__file__).parent.parent.parent
ADA = {"is_logged_in": True, "email": "Ada@Example.org", "name": "Ada"}
LIST = {"emails": ["ada@example.org"], "domains": ["lab.example.org"]}
Session = Callable[[Mapping[str, Any], Any], None]


class User(dict):
    @property
    def is_logged_in(self) -> bool:
        return self["is_logged_in"]


@pytest.fixture
def session(toy: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    """session(account, list): an app on all addresses, with a login."""

    def made(account: Mapping[str, Any], people: Any) -> None:
        import streamlit as st

        secrets = {"auth": {"client_id": "x"}, **({} if people is None else {"access": people})}
        monkeypatch.delenv("ARMATURE_PUBLISHED_ON_LOOPBACK", raising=False)
        monkeypatch.setattr(st, "secrets", secrets)
        monkeypatch.setattr(st, "user", User(account))

    return made


def may_write() -> bool:
    from app import access

    return not access.read_only()


@pytest.mark.parametrize(
    "account",
    [
        ADA,
        {**ADA, "email": "grace@LAB.example.org"},
        {**ADA, "email_verified": True},
    ],
)
def test_people_on_the_list_may_write(session, account):
    session(account, LIST)
    assert may_write()


@pytest.mark.parametrize(
    "account",
    [
        {"is_logged_in": False},
        {"is_logged_in": False, "email": "ada@example.org"},
        {"is_logged_in": True},
        {**ADA, "email": None},
        {**ADA, "email": ""},
        {**ADA, "email": "lab.example.org"},
        {**ADA, "email": "@lab.example.org"},
        {**ADA, "email": "eve@example.org"},
        {**ADA, "email": "eve@evil.lab.example.org"},
        {**ADA, "email": "eve@lab.example.org.evil.example"},
        {**ADA, "email": "ada@example.org@evil.example"},
        {**ADA, "email_verified": False},
        {**ADA, "email_verified": "false"},
        {**ADA, "email_verified": None},
    ],
)
def test_others_may_not(session, account):
    session(account, LIST)
    assert not may_write()


@pytest.mark.parametrize("people", [None, {}, {"emails": []}])
def test_without_names_on_the_list_nobody_may_write(session, people):
    session(ADA, people)
    assert not may_write()


@pytest.mark.parametrize("name", ACTIONS)
def test_every_write_asks_the_list(session, toy, name):
    from app import actions

    session({**ADA, "email": "eve@example.org"}, LIST)
    before = sorted(toy.rglob("*"))
    with pytest.raises(UserError, match=r"eve@example\.org"):
        ACTIONS[name](actions)
    assert sorted(toy.rglob("*")) == before


@pytest.mark.parametrize(
    "people",
    [
        "ada@example.org",
        {"emails": "ada@example.org"},
        {"emails": [1]},
        {"domains": 1},
        {"emails": [""]},
        {"people": ["ada@example.org"]},
    ],
)
def test_a_malformed_list_lets_nobody_in(session, people):
    from app import access

    session(ADA, people)
    for ask in (access.read_only, access.check):
        with pytest.raises(UserError, match=r"secrets\.toml"):
            ask()
    page = opened()
    assert page.error and not page.caption


def opened() -> AppTest:
    page = AppTest.from_file(str(ROOT / "app" / "script.py"), default_timeout=120).run()
    assert not page.exception
    return page


def test_pages_are_shown_to_the_list_alone(session):
    session(ADA, LIST)
    assert opened().caption
    session({**ADA, "email": "![a](http://pwn.invalid/i.png)@example.org"}, LIST)
    page = opened()
    assert [button.label for button in page.button] == ["Log out"] and not page.caption
    session({"is_logged_in": False}, LIST)
    page = opened()
    assert [button.label for button in page.button] == ["Log in"] and not page.caption


def test_without_a_list_whoever_logged_in_may_read(session):
    session(ADA, None)
    assert opened().caption


def test_secrets_that_cannot_be_parsed_are_not_read_as_no_login(toy, monkeypatch):
    from streamlit.runtime.secrets import Secrets

    from app import access

    monkeypatch.delenv("ARMATURE_PUBLISHED_ON_LOOPBACK", raising=False)
    monkeypatch.setattr("streamlit.secrets", Secrets())
    assert access.read_only() and not access.has_login()
    (toy / ".streamlit").mkdir()
    (toy / ".streamlit" / "secrets.toml").write_text("[auth\nclient_id = 1\n")
    monkeypatch.setattr("streamlit.secrets", Secrets())
    with pytest.raises(UserError, match=r"secrets\.toml"):
        access.read_only()
