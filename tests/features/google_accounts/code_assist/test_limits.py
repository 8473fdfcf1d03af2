"""How long an account rests after an error, by what the error says."""

from __future__ import annotations

import json

import pytest

from wirekey.features.google_accounts.code_assist.errors import project_hint, read_error, write_error
from wirekey.features.google_accounts.code_assist.limits import CoolDown, cool_down_after

NOW = 1_800_000_000.0


def error(status=429, message="", details=(), *, array=False):
    document = {"error": {"code": status, "message": message, "status": "X", "details": list(details)}}
    return read_error(status, json.dumps([document] if array else document).encode())


def info(reason, **metadata):
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "metadata": metadata}


def retry(delay):
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


def quota(name):
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": name}]}


RESTS = {
    "RetryInfo": (error(details=[retry("34.07s")]), None, CoolDown(34.07)),
    "in an array": (error(details=[retry("34s")], array=True), None, CoolDown(34)),
    "in the message": (error(message="Please retry in 12.5s."), None, CoolDown(12.5)),
    "hours and minutes": (error(message="Your quota will reset after 1h2m3s."), None, CoolDown(3723)),
    "RetryInfo before the message": (error(message="Please retry in 9s.", details=[retry("5s")]), None, CoolDown(5)),
    "Retry-After": (error(), 7.0, CoolDown(7)),
    "rate limit": (error(details=[info("RATE_LIMIT_EXCEEDED")]), None, CoolDown(10)),
    "rate limit with a time": (error(details=[info("RATE_LIMIT_EXCEEDED"), retry("2s")]), None, CoolDown(2)),
    "per minute": (error(details=[quota("GenerateRequestsPerMinutePerProject")]), None, CoolDown(60)),
    "per day": (error(details=[quota("GenerateRequestsPerDayPerProject")]), None, CoolDown(3600, grows=True)),
    "exhausted": (error(details=[info("QUOTA_EXHAUSTED")]), None, CoolDown(3600, grows=True)),
    "exhausted until": (
        error(details=[info("QUOTA_EXHAUSTED", quotaResetTimeStamp="2027-01-15T08:10:00Z")]),
        None,
        CoolDown(600),
    ),
    "exhausted for": (error(details=[info("QUOTA_EXHAUSTED", quotaResetDelay="120.5s")]), None, CoolDown(120.5)),
    "exhausted in the past": (
        error(details=[info("QUOTA_EXHAUSTED", quotaResetTimeStamp="2020-01-01T00:00:00Z")]),
        None,
        CoolDown(3600, grows=True),
    ),
    "unreadable": (read_error(429, b"<html>"), None, CoolDown(10)),
    "no details": (error(), None, CoolDown(10)),
    "overloaded": (error(503), None, CoolDown(1)),
    "cancelled": (error(499), None, CoolDown(1)),
    "another error": (error(500), None, None),
    "a refusal": (error(403, details=[info("QUOTA_EXHAUSTED")]), None, None),
}


@pytest.mark.parametrize("name", RESTS)
def test_an_account_rests_as_long_as_its_error_says(name):
    given, retry_after, expected = RESTS[name]
    assert cool_down_after(given, retry_after, NOW) == expected


def test_a_rest_without_a_time_doubles_up_to_a_day():
    cool_down = CoolDown(3600, grows=True)
    assert [cool_down.after(count) for count in (0, 1, 2, 4, 5, 90)] == [3600, 7200, 14400, 57600, 86400, 86400]
    assert CoolDown(20).after(7) == 20


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b'{"error": 1}', b'{"error": {"details": [1, {"@type": 2}], "message": 3}}', b"[" * 9999],
    ids=range(6),
)
def test_an_error_of_another_shape_is_read_as_its_status(body):
    assert read_error(429, body).code == 429
    assert json.loads(write_error(429, b"<html>"))["error"]["status"] == "RESOURCE_EXHAUSTED"


def test_an_error_keeps_its_bytes_unless_a_hint_is_added():
    body = b'{"error": {"code": 403, "message": "No.",  "status": "PERMISSION_DENIED"}}'
    assert write_error(403, b"[" + body + b"]") == body
    hint = project_hint(403, "my-project")
    assert json.loads(write_error(403, body, hint))["error"]["message"] == f"No. {hint}"
    assert "my-project" in hint
    assert project_hint(429, "my-project") == project_hint(403, None) == ""
