"""The backend of a recorded call, for policies that are tried on the record."""

import pytest

from wirekey.core.audit.event import NAMES
from wirekey.core.policy.permissions import permissions_of
from wirekey.core.policy.replay import read_backend, recorded_input


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


@pytest.mark.parametrize(
    ("recorded", "backend"), [("gemini-oauth-plan:gemini-2.5-pro", "gemini-oauth-plan"), ("gpt-4o", None)]
)
def test_a_policy_sees_the_backend_of_a_recorded_call(recorded, backend):
    event = dict.fromkeys(NAMES) | {"requested_model": recorded}
    given = recorded_input(event, lambda _: permissions_of(None))
    assert given.get("backend", "none") == (backend or "none")
    assert given["model"] == given["requested_model"] == recorded.rpartition(":")[2]
