"""A simulator of Code Assist, and the server that issues and renews the logins of people."""

from __future__ import annotations

import json
import time

import pytest

from tests.support.running import PROVIDER_KEYS, SimulatorThread
from wirekey_simulator.google_logins import GoogleLoginService
from wirekey_simulator.plain_http import serving


class Logins(GoogleLoginService):
    url = ""


class AcceptedTokens:
    """The tokens that Code Assist accepts: those of a test file, and those that the login server has issued."""

    def __init__(self, given, logins):
        self.given, self.logins = frozenset(given), logins

    def __contains__(self, token):
        return token in self.given or self.logins.person_of(token) is not None


@pytest.fixture(scope="module")
def logins():
    service = Logins(rotates=False)
    with serving(service) as url:
        service.url = url
        yield service


@pytest.fixture(scope="module")
def simulator(request, tmp_path_factory, logins):
    """Accepts the tokens in `LOGIN_TOKENS` of the test file, too."""
    accepted = AcceptedTokens(request.module.LOGIN_TOKENS, logins)
    keys = {name: [key] for name, key in PROVIDER_KEYS.items()} | {"code_assist": accepted}
    running = SimulatorThread(tmp_path_factory.mktemp("simulator"), keys=keys)
    yield running
    running.stop()


def login(token, **more):
    """The content of a login file, whose token is valid for two hours."""
    return json.dumps({"access_token": token, "expiry_date": int((time.time() + 7200) * 1000)} | more)


def default_login(logins, **more):
    """The content of a file of application default credentials, of a person who has logged in."""
    person = logins.log_in("operator@example.com")
    client = {"client_id": logins.client_id, "client_secret": logins.client_secret}
    return json.dumps({"type": "authorized_user", "refresh_token": person["refresh_token"]} | client | more)
