"""A stand-in for Google's logins, the settings that lead to it, and the state that two processes share."""

import pytest

from wirekey.core.secret import Secret
from wirekey.core.shared_state.sqlite import SqliteState
from wirekey.features.google_accounts.oauth import GoogleOAuthClient
from wirekey.features.google_accounts.token_server import GoogleSettings
from wirekey_simulator.google_logins import (
    AUTHORIZE_PATH,
    REVOKE_PATH,
    TOKEN_PATH,
    USERINFO_PATH,
    GoogleLoginService,
)
from wirekey_simulator.plain_http import serving


@pytest.fixture
def google():
    service = GoogleLoginService()
    yield service
    service.go_on.set()


@pytest.fixture
def google_url(google):
    with serving(google) as url:
        yield url


@pytest.fixture
def settings(google, google_url):
    return GoogleSettings(
        GoogleOAuthClient(google.client_id, Secret(google.client_secret)),
        ("https://www.googleapis.com/auth/cloud-platform",),
        google_url + AUTHORIZE_PATH,
        google_url + TOKEN_PATH,
        google_url + REVOKE_PATH,
        google_url + USERINFO_PATH,
    )


@pytest.fixture
async def pair(tmp_path):
    """The states of two processes."""
    states = SqliteState(tmp_path / "shared.db"), SqliteState(tmp_path / "shared.db")
    for state in states:
        await state.start()
    yield states
    for state in states:
        await state.close()
