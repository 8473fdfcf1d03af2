"""The refusals of callers: their status, and what a person can do."""

import pytest

from wirekey.core.identity import refusals


@pytest.mark.parametrize(
    ("refusal", "status", "code", "fix"),
    [
        (refusals.UNKNOWN_AGENT, 401, "unknown_agent", "wirekey agents add NAME"),
        (refusals.NO_AGENT, 401, "no_agent", "wirekey agents add NAME"),
        (refusals.TWO_AGENTS, 401, "agents_disagree", "must all belong to one agent"),
        (refusals.TWO_UPLOADS, 400, "malformed", "more than one upload_id"),
        (refusals.UNKNOWN_UPLOAD, 403, "unknown_upload", "Begin the upload again"),
        (refusals.UPLOAD_OF_ANOTHER, 403, "upload_of_another_agent", "Begin a new one with your own token"),
    ],
)
def test_a_refusal_of_a_caller_says_what_to_do(refusal, status, code, fix):
    assert (refusal.status, refusal.code) == (status, code)
    assert fix in str(refusal)
