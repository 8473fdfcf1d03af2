"""The first attempt has a credential, and its response has nothing of it."""

from __future__ import annotations

import time

import pytest
from mitmproxy.test import tutils

from tests.support.addon_flows import CHAT, passed, recognised, refusal_of, request_flow, services_for
from wirekey.core.addons.credentials import Credentials
from wirekey.core.body import Body
from wirekey.core.call import Agent
from wirekey.core.credentials.client_supplied import ClientCredential
from wirekey.core.credentials.pool import KeyPool, ProviderKey
from wirekey.core.errors import Refusal
from wirekey.core.operation import Kind, Operation
from wirekey.core.routing.candidate import Candidate
from wirekey.core.routing.plan import RetryPlan
from wirekey.core.secret import Secret

KEY, OTHER_KEY = "sk-provider-key-0123456789", "sk-another-key-0123456789"
UPLOAD = Operation("upload", Body.OPAQUE, Kind.STORAGE)
UPLOAD_URL = "https://generativelanguage.googleapis.com/upload/v1beta/files?upload_id=AB12"
COMES_FIRST = Refusal(401, "first", "Refused before.")


def pool_of(*keys):
    return KeyPool([ProviderKey(f"openai/{number}", Secret(key)) for number, key in enumerate(keys, 1)])


def call_of(candidate, operation=CHAT, *, path="/v1/chat/completions", host="api.openai.com", **settings):
    """Return the addon, and the flow of a call whose plan has this candidate."""
    addon, flow = Credentials(services_for(**settings)), request_flow(path, host)
    call = recognised(addon.services, flow, CHAT if operation is UPLOAD else operation, candidate.provider)
    call.operation, call.agent = operation, Agent("alice")
    state = addon.calls.state(flow)
    state.plan, state.original_target = RetryPlan((candidate,)), path.encode()
    return addon, flow


async def responded(addon, flow, status=200, **headers):
    """Run the addon for the head of the provider's response to the attempt, which the wire layer counts."""
    addon.calls.of(flow).attempts = 1
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    flow.response = tutils.tresp(status_code=status, reason=KEY.encode(), headers=fields)
    addon.responseheaders(flow)
    return flow.response


MADE = [
    (Candidate("openai", pool=pool_of(KEY)), "openai/1"),
    (Candidate("openai", auth="none", route="routes[0]"), "routes[0]/none"),
    (Candidate("openai", auth="client"), "openai/client"),
]


@pytest.mark.parametrize(("candidate", "label"), MADE, ids=[label for _, label in MADE])
async def test_the_credential_of_an_attempt(candidate, label):
    addon, flow = call_of(candidate, key_sources={"openai": "client"})
    addon.calls.state(flow).client_credential = ClientCredential(Secret(OTHER_KEY))
    await passed(addon, flow)
    state = addon.calls.state(flow)
    assert flow.response is None
    assert (state.attempt.credential, state.call.credential) == (label, label)
    assert KEY not in str((flow.get_state(), state, state.attempt))
    assert OTHER_KEY not in str((flow.get_state(), state, state.attempt))


@pytest.mark.parametrize(
    ("candidate", "refused"),
    [
        (Candidate("openai"), (503, "no_provider_key")),
        (Candidate("openai", pool=KeyPool([])), (503, "no_provider_key")),
        (Candidate("openai", auth="client"), (401, "no_client_key")),
        (Candidate("openai", auth="passthrough"), (401, "no_client_key")),
    ],
)
async def test_a_call_without_a_credential_is_refused(candidate, refused):
    addon, flow = call_of(candidate)
    await passed(addon, flow)
    assert refusal_of(addon.services, flow) == refused
    assert addon.calls.state(flow).attempt is None


async def test_a_signature_that_was_never_verified_is_refused():
    addon, flow = call_of(MADE[0][0])
    addon.calls.state(flow).unverified = True
    await passed(addon, flow)
    assert refusal_of(addon.services, flow) == (403, "signature_unverified")


async def test_a_call_that_was_refused_before_gets_no_credential():
    addon, flow = call_of(MADE[0][0])
    addon.calls.refuse(flow, COMES_FIRST)
    addon.request(flow)
    assert addon.calls.state(flow).attempt is None


@pytest.mark.parametrize(
    ("status", "headers", "cools"),
    [(200, {}, 0), (401, {}, 30), (403, {}, 30), (429, {}, 1), (429, {"retry_after": "20"}, 20), (500, {}, 0)],
)
async def test_a_key_that_the_provider_rejects_cools_down(status, headers, cools):
    pool = pool_of(KEY, OTHER_KEY)
    addon, flow = call_of(Candidate("openai", pool=pool))
    await passed(addon, flow)
    now = time.monotonic()
    await responded(addon, flow, status, **headers)
    assert pool.keys[0].cooling_until == (0 if not cools else pytest.approx(now + cools, abs=1))
    assert pool.keys[1].cooling_until == 0


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("x-quoted", f"the key {KEY}", "the key " + "*" * len(KEY)),
        ("x-request-id", "req_1", "req_1"),
        ("retry-after", "3", "3"),
        ("set-cookie", "session=1", None),
        ("alt-svc", 'h3=":443"', None),
        ("proxy-authenticate", "Basic", None),
        ("x-wirekey-request-id", "of the provider", None),
    ],
)
async def test_a_response_head_has_nothing_of_the_key_and_nothing_that_leads_past_wirekey(field, value, shown):
    addon, flow = call_of(MADE[0][0])
    await passed(addon, flow)
    response = await responded(addon, flow, **{field: value})
    assert response.headers.get(field) == shown
    assert response.reason == "OK"


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://api.openai.com/v1/other", "https://api.openai.com/v1/other"),
        ("/v1/other", "/v1/other"),
        (f"/v1/other?key={KEY}", "/v1/other?key=" + "*" * len(KEY)),
    ],
)
async def test_a_redirect_to_the_same_provider_is_passed_on(location, shown):
    addon, flow = call_of(MADE[0][0])
    await passed(addon, flow)
    assert (await responded(addon, flow, 307, location=location)).headers["location"] == shown


async def test_a_response_of_wirekeys_own_is_not_changed():
    addon, flow = call_of(MADE[0][0])
    await passed(addon, flow)
    addon.calls.of(flow).status = 503
    assert (await responded(addon, flow, 503, set_cookie="own")).headers["set-cookie"] == "own"


@pytest.mark.parametrize(
    ("base", "shown"),
    [("", UPLOAD_URL), ("http://127.0.0.1:8000", "http://127.0.0.1:8000/upload/v1beta/files?upload_id=AB12")],
    ids=["by the proxy", "at the gateway"],
)
async def test_an_upload_belongs_to_the_agent_that_began_it(base, shown):
    host = "generativelanguage.googleapis.com"
    candidate = Candidate("gemini", pool=pool_of(KEY))
    addon, flow = call_of(candidate, UPLOAD, path="/upload/v1beta/files", host=host)
    addon.calls.state(flow).base = base
    addon.calls.redact(flow)
    await passed(addon, flow)
    response = await responded(addon, flow, x_goog_upload_url=UPLOAD_URL)
    assert response.headers["x-goog-upload-url"] == shown
    assert addon.services.uploads.find("AB12", time.monotonic()).agent == "alice"
