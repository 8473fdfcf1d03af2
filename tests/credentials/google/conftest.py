"""A stand-in for Google's token server."""

import pytest

from wirekey_simulator.google_logins import GoogleLoginService
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
