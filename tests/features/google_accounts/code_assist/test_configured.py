"""From the settings of backends to what they do."""

from __future__ import annotations

import pytest

from wirekey.config import load
from wirekey.features.google_accounts.code_assist.configured import backends_from

NAME = "gemini-oauth-auto"


def fallback_of(tmp_path, settings, environ):
    file = tmp_path / "wirekey.yaml"
    file.write_text(f"backends: {{{NAME}: {{enabled: true{settings}}}}}\n")
    return backends_from(load(file, environ))[NAME].settings.fallback


@pytest.mark.parametrize(
    ("settings", "variable", "fallback"),
    [
        ("", None, "gemini-2.5-flash"),
        (", fallback: gemini-2.0-flash", None, "gemini-2.0-flash"),
        (", fallback: null", None, None),
        (", disable_fallback: true", None, None),
        (", fallback: gemini-2.0-flash, disable_fallback: true", None, None),
        ("", "true", None),
        ("", "1", None),
        ("", " True ", None),
        ("", "false", "gemini-2.5-flash"),
        ("", "", "gemini-2.5-flash"),
    ],
)
def test_the_fallback_can_be_changed_and_turned_off(tmp_path, settings, variable, fallback):
    environ = {} if variable is None else {"DISABLE_GEMINI_OAUTH_FALLBACK": variable}
    assert fallback_of(tmp_path, settings, environ) == fallback
