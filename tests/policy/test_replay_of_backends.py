"""The backend of a recorded call, for policies that are tried on the record."""

import pytest

from wirekey.core.policy.replay import read_backend


@pytest.mark.parametrize(
    ("recorded", "backend", "name"),
    [
        ("gemini-cli-acp:google/gemini-3-flash", "gemini-cli-acp", "gemini-3-flash"),
        ("gemini-oauth-plan:gemini-2.5-pro", "gemini-oauth-plan", "gemini-2.5-pro"),
        ("gpt-4o", None, "gpt-4o"),
        ("google/gemini-2.5-pro", None, "google/gemini-2.5-pro"),
        ("gpt-4o?no=parameter", None, "gpt-4o?no=parameter"),
    ],
)
def test_a_recorded_model_has_its_backend_in_front(recorded, backend, name):
    found = read_backend(recorded)
    assert (found.backend, found.name) == (backend, name)
