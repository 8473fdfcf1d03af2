"""The lookup of an account's project, as requests and responses without a network."""

from __future__ import annotations

import json

import pytest

from wirekey.features.google_accounts.code_assist.projects import (
    POLL_FOR,
    FoundProject,
    LookupRequest,
    ProjectError,
    ProjectLookup,
)

METADATA = {"ideType": "IDE_UNSPECIFIED", "platform": "PLATFORM_UNSPECIFIED", "pluginType": "GEMINI"}
FREE = {"id": "free-tier", "isDefault": True}
STANDARD = {"id": "standard-tier", "isDefault": True, "userDefinedCloudaicompanionProject": True}
VALIDATION = {
    "reasonCode": "VALIDATION_REQUIRED",
    "reasonMessage": "Verify your account to continue.",
    "validationUrl": "https://accounts.google.com/verify",
}


def load(lookup, answer, status=200):
    first = lookup.start()
    assert (first.method, first.target) == ("POST", "/v1internal:loadCodeAssist")
    return lookup.receive(status, json.dumps(answer).encode())


def body_of(request):
    assert isinstance(request, LookupRequest)
    return json.loads(request.body)


def test_the_first_request_names_the_configured_project():
    assert body_of(ProjectLookup("mine").start()) == {
        "cloudaicompanionProject": "mine",
        "metadata": METADATA | {"duetProject": "mine"},
    }
    assert body_of(ProjectLookup().start()) == {"metadata": METADATA}
    assert body_of(ProjectLookup("mine", free=True).start()) == {"metadata": METADATA}


FOUND = {
    "named": (None, {"currentTier": {"id": "t"}, "cloudaicompanionProject": "found-1"}, FoundProject("found-1", "t")),
    "as an object": (None, {"cloudaicompanionProject": {"id": "found-1"}}, FoundProject("found-1")),
    "configured wins": (
        "mine",
        {"currentTier": {"id": "t"}, "cloudaicompanionProject": "x"},
        FoundProject("mine", "t"),
    ),
    "configured": ("mine", {"currentTier": {"id": "t"}}, FoundProject("mine", "t")),
}


@pytest.mark.parametrize("name", FOUND)
def test_a_known_account_has_its_project_at_once(name):
    project, answer, expected = FOUND[name]
    assert load(ProjectLookup(project), answer) == expected


REFUSED = {
    "no project": ({"currentTier": {"id": "t"}}, 200, "Set project_id", False),
    "ineligible": (
        {"currentTier": {"id": "t"}, "ineligibleTiers": [{"reasonMessage": "Too young."}]},
        200,
        "Too young.",
        False,
    ),
    "no tier at all": (
        {"ineligibleTiers": [{"reasonMessage": "Not in your country."}]},
        200,
        "Not in your country.",
        False,
    ),
    "validation": ({"ineligibleTiers": [VALIDATION], "allowedTiers": [FREE]}, 200, "Verify your account", True),
    "needs a project": ({"allowedTiers": [STANDARD]}, 200, "Set project_id", False),
    "an error": ({"error": {"code": 500, "message": "Broken."}}, 500, "status 500", False),
    "no object": ([], 200, "something other than a JSON object", False),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_account_without_a_project_is_refused_with_the_reason(name):
    answer, status, words, invalid = REFUSED[name]
    with pytest.raises(ProjectError, match=words) as refused:
        load(ProjectLookup(), answer, status)
    assert refused.value.invalid is invalid


def test_validation_as_an_error_has_googles_link():
    details = [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "VALIDATION_REQUIRED",
            "metadata": {"validation_url": "https://accounts.google.com/verify"},
        }
    ]
    with pytest.raises(ProjectError) as refused:
        load(ProjectLookup(), {"error": {"code": 403, "message": "Verify first.", "details": details}}, 403)
    assert refused.value.invalid
    assert refused.value.url == "https://accounts.google.com/verify"


ONBOARDED = {
    "default tier": ("mine", False, [{"id": "a"}, STANDARD], "standard-tier", "mine"),
    "no default": ("mine", False, [{"id": "a"}], "legacy-tier", "mine"),
    "free by default": ("mine", False, [FREE], "free-tier", None),
    "free account": ("mine", True, [STANDARD], "free-tier", None),
}


@pytest.mark.parametrize("name", ONBOARDED)
def test_a_new_account_is_onboarded_and_the_free_tier_names_no_project(name):
    project, free, tiers, tier, sent = ONBOARDED[name]
    request = load(ProjectLookup(project, free=free), {"allowedTiers": tiers})
    assert request.target == "/v1internal:onboardUser"
    assert body_of(request)["tierId"] == tier
    assert body_of(request).get("cloudaicompanionProject") == sent


def onboarding():
    lookup = ProjectLookup()
    load(lookup, {"allowedTiers": [FREE]})
    return lookup


def test_an_operation_is_polled_until_it_is_done():
    lookup = onboarding()
    poll = lookup.receive(200, b'{"name": "operations/o1", "done": false}')
    assert (poll.method, poll.target, poll.body, poll.wait) == ("GET", "/v1internal/operations/o1", b"", 2.0)
    assert lookup.receive(200, b'{"name": "operations/o1"}').wait == 3.0
    done = lookup.receive(200, b'{"done": true, "response": {"cloudaicompanionProject": {"id": "made-1"}}}')
    assert done == FoundProject("made-1", "free-tier")


def test_an_operation_that_does_not_end_is_given_up_after_two_minutes():
    lookup, waits = onboarding(), []

    def poll():
        while True:
            waits.append(lookup.receive(200, b'{"name": "operations/o1"}').wait)

    with pytest.raises(ProjectError, match="did not finish"):
        poll()
    assert all(0 < wait <= 5 for wait in waits)
    assert sum(waits) == POLL_FOR


@pytest.mark.parametrize("name", ["../x", "", "https://evil.example/", None, 5, "a?b", "a\r\nb"], ids=range(7))
def test_an_operation_of_another_name_is_not_asked_for(name):
    with pytest.raises(ProjectError, match="does not name"):
        onboarding().receive(200, json.dumps({"name": name}).encode())


def test_an_operation_that_failed_says_why():
    with pytest.raises(ProjectError, match="Terms not accepted"):
        onboarding().receive(200, b'{"done": true, "error": {"code": 9, "message": "Terms not accepted."}}')
