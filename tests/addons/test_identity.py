"""Identity finds the agent by every token of a request, and removes the tokens from the flow."""

from __future__ import annotations

import base64

import pytest
from mitmproxy.test import taddons

from tests.support.addon_flows import HOSTS, passed, refusal_of, request_flow, services_for
from wirekey.core.addons.identity import Identity
from wirekey.core.call import Agent
from wirekey.core.identity.agents import AgentStore
from wirekey.core.identity.proof import proven_agent

OTHER_PROVIDERS_KEY = "sk-ant-key-of-a-person-0123456789"
UNKNOWN = "wk_unknown0123456789012345678901234567890"
OWN_KEY = "sk-own-key-0123456789"
CLIENT_KEYS = {"client": ("x_openai_key", OWN_KEY), "passthrough": ("authorization", f"Bearer {OWN_KEY}")}


@pytest.fixture(scope="module")
def agents(tmp_path_factory):
    return AgentStore(tmp_path_factory.mktemp("state") / "agents.json")


@pytest.fixture(scope="module")
def alice(agents):
    return agents.add("alice")


@pytest.fixture(scope="module")
def bob(agents):
    return agents.add("bob")


@pytest.fixture
def identity(agents):
    """Return a function that makes the addon, with these settings."""

    def make(**settings):
        services = services_for(**settings)
        services.agents = agents
        return Identity(services)

    return make


def basic(name, token):
    return "Basic " + base64.b64encode(f"{name}:{token}".encode()).decode()


def shown(flow):
    """Return all that other addons see of a request's head."""
    return str((flow.request.headers.fields, flow.request.path))


async def connected(addon, flow):
    """Run the hook of a CONNECT, as mitmproxy does."""
    flow.request.method = "CONNECT"
    with taddons.context(loadcore=False):
        await addon.http_connect(flow)
    return flow


@pytest.mark.parametrize(
    ("place", "host", "path"),
    [
        ({"authorization": "Bearer {}"}, "api.openai.com", "/v1/chat/completions"),
        ({"x_api_key": "{}"}, "api.anthropic.com", "/v1/messages"),
        ({"authorization": "Bearer {}"}, "api.anthropic.com", "/v1/messages"),
        ({"x_goog_api_key": "{}"}, "generativelanguage.googleapis.com", "/v1beta/models"),
        ({}, "generativelanguage.googleapis.com", "/v1beta/models?key={}&pageSize=5"),
        ({"authorization": "Bearer {}"}, "bedrock-runtime.us-east-1.amazonaws.com", "/model/m/converse"),
        (
            {"sec_websocket_protocol": "realtime, openai-insecure-api-key.{}"},
            "api.openai.com",
            "/v1/realtime?model=gpt-realtime",
        ),
    ],
)
async def test_a_token_in_the_place_of_a_key_names_the_agent_and_leaves_the_flow(identity, alice, place, host, path):
    addon = identity()
    headers = {name: value.format(alice) for name, value in place.items()}
    flow = await passed(addon, request_flow(path.format(alice), host, **headers))
    state = addon.calls.state(flow)
    assert state.call.agent == Agent("alice")
    assert proven_agent(state.proof, addon.services.agents, state.proof.accepted_at) == Agent("alice")
    assert alice not in shown(flow)
    assert alice not in state.call.path
    assert flow.response is None


async def test_other_headers_and_parameters_stay(identity, alice):
    headers = {"x_api_key": alice, "anthropic_version": "2023-06-01", "user_agent": "program/1"}
    flow = request_flow("/v1/messages?beta=true", "api.anthropic.com", **headers)
    await passed(identity(), flow)
    assert flow.request.path == "/v1/messages?beta=true"
    assert [name for name, _ in flow.request.headers.fields] == [b"host", b"anthropic-version", b"user-agent"]


@pytest.mark.parametrize(
    ("tokens", "refused"),
    [
        ({}, (401, "no_agent")),
        ({"authorization": "Bearer UNKNOWN"}, (401, "unknown_agent")),
        ({"authorization": "Bearer ALICE", "x_api_key": "BOB"}, (401, "agents_disagree")),
        (
            {"authorization": "Bearer ALICE", "x_api_key": "UNKNOWN"},
            (401, "unknown_agent"),
        ),
        ({"authorization": "Bearer " + OTHER_PROVIDERS_KEY}, (401, "no_agent")),
        ({"authorization": "Bearer ALICE", "x_api_key": "ALICE"}, None),
    ],
)
async def test_all_tokens_must_be_of_one_known_agent(identity, alice, bob, tokens, refused):
    addon = identity()
    known = {"ALICE": alice, "BOB": bob, "UNKNOWN": UNKNOWN}
    headers = {name: " ".join(known.get(word, word) for word in value.split()) for name, value in tokens.items()}
    flow = await passed(addon, request_flow("/v1/messages", "api.anthropic.com", **headers))
    assert refusal_of(addon.services, flow) == refused
    for secret in (alice, bob, UNKNOWN, OTHER_PROVIDERS_KEY):
        assert secret not in shown(flow)
    if refused:
        assert flow.response.json()["type"] == "error", "in the format of the provider"


async def test_a_revoked_agent_is_unknown_although_its_token_was_known(tmp_path):
    services = services_for()
    services.agents = AgentStore(tmp_path / "agents.json")
    token = services.agents.add("carol")
    services.agents.revoke("carol")
    flow = await passed(Identity(services), request_flow(authorization=f"Bearer {token}"))
    assert refusal_of(services, flow) == (401, "unknown_agent")


async def test_an_agent_that_is_revoked_while_its_body_arrives_is_refused(tmp_path):
    services = services_for()
    services.agents = AgentStore(tmp_path / "agents.json")
    addon, flow = Identity(services), request_flow(authorization=f"Bearer {services.agents.add('carol')}")
    addon.requestheaders(flow)
    assert flow.response is None
    services.agents.revoke("carol")
    services.agents.refresh()
    addon.request(flow)
    assert flow.response.status_code == 401


@pytest.mark.parametrize(("origin", "refused"), [(None, None), ("https://page.example", (403, "origin_refused"))])
async def test_without_required_identities_only_web_pages_need_one(identity, origin, refused):
    addon = identity(identity_required=False)
    flow = await passed(addon, request_flow(**({"origin": origin} if origin else {})))
    assert refusal_of(addon.services, flow) == refused
    assert addon.calls.of(flow).agent is None


@pytest.mark.parametrize("mode", CLIENT_KEYS)
async def test_a_key_of_the_client_is_kept_beside_the_call_and_not_on_the_flow(identity, alice, mode):
    addon = identity(key_sources={"openai": mode})
    header, value = CLIENT_KEYS[mode]
    flow = request_flow(proxy_authorization=basic("alice", alice), **{header: value})
    await passed(addon, flow)
    state = addon.calls.state(flow)
    assert state.call.agent == Agent("alice")
    assert state.client_credential.key.reveal() == OWN_KEY
    assert OWN_KEY not in shown(flow)


@pytest.mark.parametrize(
    ("credentials", "status"),
    [
        (("alice", "ALICE"), None),
        (("", "ALICE"), None),
        (("bob", "ALICE"), 407),
        (("alice", UNKNOWN), 407),
        (("alice", "not a token"), 407),
    ],
)
async def test_a_tunnel_needs_the_token_of_the_agent_that_it_names(identity, alice, bob, credentials, status):
    addon, name = identity(), credentials[0]
    flow = request_flow("", next(iter(HOSTS)), proxy_authorization=basic(name, credentials[1].replace("ALICE", alice)))
    await connected(addon, flow)
    assert (flow.response.status_code if flow.response else None) == status
    assert (flow.client_conn in addon.services.tunnel_agents) == (status is None)
    assert "proxy-authorization" not in flow.request.headers
    if status:
        assert flow.response.headers["proxy-authenticate"].startswith("Basic ")


@pytest.mark.parametrize(("host", "status"), [("api.openai.com", None), ("example.com", 407)])
async def test_only_a_tunnel_to_another_host_needs_credentials_at_once(identity, host, status):
    addon = identity()
    flow = await connected(addon, request_flow("", host))
    assert (flow.response.status_code if flow.response else None) == status


@pytest.mark.parametrize(("in_request", "refused"), [(None, None), ("ALICE", None), ("BOB", (401, "agents_disagree"))])
async def test_a_request_has_the_agent_of_its_tunnel(identity, alice, bob, in_request, refused):
    addon = identity()
    tunnel = await connected(addon, request_flow("", "api.openai.com", proxy_authorization=basic("alice", alice)))
    token = {"ALICE": alice, "BOB": bob}.get(in_request)
    flow = request_flow(**({"authorization": f"Bearer {token}"} if token else {}))
    flow.client_conn = tunnel.client_conn
    await passed(addon, flow)
    assert refusal_of(addon.services, flow) == refused
    assert refused or addon.calls.of(flow).agent == Agent("alice")


@pytest.mark.parametrize(
    ("path", "code"),
    [("?upload_id=not-begun-here", "unknown_upload"), ("?upload_id=1&upload_id=2", "malformed")],
)
async def test_an_upload_that_was_not_begun_here_is_refused(identity, alice, path, code):
    addon = identity()
    flow = request_flow(f"/upload/v1beta/files{path}", "generativelanguage.googleapis.com", x_goog_api_key=alice)
    await passed(addon, flow)
    assert addon.calls.of(flow).refusal_code == code
