"""A stand-in takes the place of a host of Google in tests, and nothing else changes."""

from __future__ import annotations

import pytest

from wirekey.core.credentials.google.addresses import STAND_INS, google_url

URL = "https://oauth2.googleapis.com/token"
NAMED = {STAND_INS: '{"oauth2.googleapis.com": "http://127.0.0.1:9"}'}


@pytest.mark.parametrize(
    ("url", "environ", "expected"),
    [
        (URL, {}, URL),
        (URL, NAMED, "http://127.0.0.1:9/token"),
        ("https://www.googleapis.com/token", NAMED, "https://www.googleapis.com/token"),
    ],
)
def test_a_host_is_replaced_only_if_it_is_named(url, environ, expected):
    assert google_url(url, environ) == expected
