"""The login in a real browser, against a real OpenID Connect provider on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from study.formats.dataset import Dataset
from study.settings import Arm
from system.app_server import AppServer
from system.app_studies import stored
from system.conftest import Opener
from system.login_provider import CLIENT, Provider, provided

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SECRETS = """
[auth]
redirect_uri = "{address}/oauth2callback"
cookie_secret = "a secret of this test alone, nowhere else"
client_id = "{client}"
client_secret = "known to both"
server_metadata_url = "{issuer}/.well-known/openid-configuration"

[access]
emails = ["ada@example.org"]
domains = ["lab.example.org"]
"""


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with provided() as one:
        yield one


@pytest.fixture(scope="module")
def open_app(
    tmp_path_factory: pytest.TempPathFactory, tiny: Dataset, control: Arm, provider: Provider
) -> Iterator[AppServer]:
    """An app that others reach too, so that it asks for a login."""
    root: Path = tmp_path_factory.mktemp("open") / "study"
    root.mkdir()
    stored(root, tiny, control)
    server = AppServer(root, root.parent / "app.log")
    server.environment |= {"STREAMLIT_SERVER_ADDRESS": "0.0.0.0"}
    (root / ".streamlit").mkdir(exist_ok=True)
    (root / ".streamlit" / "secrets.toml").write_text(
        SECRETS.format(address=server.address, client=CLIENT, issuer=provider.issuer)
    )
    yield server.start()
    server.kill()


@pytest.mark.parametrize(
    ("account", "may"),
    [
        ({"email": "ada@example.org", "email_verified": True}, "write"),
        ({"email": "Bob@LAB.example.org"}, "write"),
        ({"email": "ada@example.org", "email_verified": False}, "nothing"),
        ({"email": "eve@example.org", "email_verified": True}, "nothing"),
        ({"email": "eve@lab.example.org.evil.example"}, "nothing"),
        ({"name": "nobody"}, "nothing"),
    ],
)
def test_people_on_the_list_may_write_and_others_see_nothing(
    account: dict[str, object], may: str, open_app: AppServer, provider: Provider, opener: Opener
) -> None:
    provider.account = account
    watched = opener(open_app)
    page = watched.open()
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    assert "control" not in watched.text()
    page.get_by_role("button", name="Log in").click()
    if may == "nothing":
        expect(page.get_by_role("button", name="Log out")).to_be_visible()
        page.goto(f"{open_app.address}/findings")
        expect(page.get_by_role("button", name="Log out")).to_be_visible()
        assert "control" not in watched.text()
    else:
        expect(page.get_by_role("button", name="Log in")).to_have_count(0)
        page.goto(f"{open_app.address}/new_arm")
        watched.drawn()
        assert "Read-only" not in watched.text()
