"""Runs tests of the wire layer with what makes it fast, and without."""

import pytest

from wirekey.core.wire.install import PLAIN


@pytest.fixture(params=["fast", "plain"])
def with_and_without_speed(request, monkeypatch):
    """Return whether `install`, which each proxy of a test calls, installs what is only for speed."""
    if request.param == "plain":
        monkeypatch.setenv(PLAIN, "1")
    return request.param == "fast"
