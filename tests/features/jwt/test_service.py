"""The service of JWTs of one version of the configuration, and the endpoints that it has."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import msgspec
import pytest

from tests.features.jwt.jwt_making import ed_key, pem, token
from tests.support.configuration import loaded
from wirekey.core.call import Agent
from wirekey.core.egress.upstream_proxy import no_proxy_for
from wirekey.core.endpoints.local_request import LocalRequest
from wirekey.core.errors import Refusal
from wirekey.core.identity.agents import AgentStore
from wirekey.feature import FeatureValues
from wirekey.features.jwt import service as jwt_service
from wirekey.features.jwt.issuers import IssuerError
from wirekey.features.jwt.service import TokenService
from wirekey.features.jwt.token_endpoint import KEYS_PATH, TOKEN_PATH
from wirekey.server.feature_parts import ServiceStart

ELSEWHERE = "identity: {jwt: {issuer: id, jwks_url: https://id.example/jwks}}"
NONE = FeatureValues()


@pytest.fixture
def agents(tmp_path):
    return AgentStore(tmp_path / "agents.json")


@pytest.fixture
def prepared(tmp_path, agents):
    """Return a function that prepares and begins the service of a configuration, after a previous service."""

    def prepare(text="", previous=NONE):
        config = loaded(tmp_path, f"state: {tmp_path}\n{text}")
        service = TokenService.prepare(ServiceStart(config, config, agents, no_proxy_for, previous))
        service.begin()
        return service

    return prepare


def opened(*services):
    return FeatureValues.of(services)


def access_token(service, agents, name="alice"):
    """Return a token of an agent that is added, from the token endpoint."""
    client = agents.add_client(name)
    grant = {
        "grant_type": "client_credentials",
        "client_id": client.client_id,
        "client_secret": client.client_secret.reveal(),
    }
    request = LocalRequest(
        "POST", TOKEN_PATH, (("content-type", "application/json"),), "192.0.2.1", json.dumps(grant).encode()
    )
    response = jwt_service.routes(lambda: opened(service), lambda: None)[TOKEN_PATH](request)
    return json.loads(response.body)["access_token"]


async def test_a_token_of_the_endpoint_identifies_its_agent(prepared, agents):
    service = prepared()
    verified = await jwt_service.identify(opened(service), access_token(service, agents))
    assert verified.find_agent(agents, time.time()).id == "alice"


async def test_a_token_that_is_refused_says_why_with_status_401(prepared, agents):
    service = prepared()
    issued = access_token(service, agents)
    agents.revoke("alice")
    reason = "The JWT was issued to an agent that was revoked, or for client credentials that were replaced"
    with pytest.raises(Refusal, match=reason) as caught:
        await jwt_service.identify(opened(service), issued)
    assert (caught.value.status, caught.value.code) == (401, "refused_token")


def test_a_reload_keeps_the_keys_and_the_endpoint_and_applies_the_lifetime(prepared):
    before = prepared()
    after = prepared("identity: {jwt: {lifetime: 60}}", opened(before))
    assert after.keys is before.keys
    assert after.endpoint is before.endpoint
    assert (after.keys.lifetime, after.endpoint.settings.lifetime) == (60, 60)
    assert before.jwts.trust.jwts is after.jwts


def test_a_reload_that_fails_leaves_the_settings_in_force(prepared):
    before = prepared()
    absent = "identity: {jwt: {lifetime: 60, issuers: [{issuer: x, key: /nowhere/key.pem}]}}"
    with pytest.raises(IssuerError, match=r"/nowhere/key\.pem"):
        prepared(absent, opened(before))
    assert before.endpoint.settings.lifetime == before.keys.lifetime == 3600
    assert before.jwts.trust.jwts is before.jwts


def test_keys_that_another_issuer_replaces_are_kept_for_a_later_reload(prepared):
    first = prepared()
    second = prepared(ELSEWHERE, opened(first))
    assert second.keys is first.keys
    assert second.endpoint is None
    assert [issuer.name for issuer in second.jwts.issuers] == ["id"]
    assert prepared("", opened(second)).keys is first.keys


def test_a_process_that_never_issued_tokens_has_no_keys(prepared, tmp_path):
    assert prepared(ELSEWHERE).keys is None
    assert not (tmp_path / "jwt-keys.json").exists()


async def test_claims_become_labels_of_the_agents_of_external_issuers(prepared, agents, tmp_path):
    (tmp_path / "key.pem").write_bytes(pem(ed_key()))
    issuers = f"[{{issuer: id, key: {tmp_path}/key.pem}}]"
    service = prepared(f"identity: {{labels: {{claims: {{team: groups.0}}}}, jwt: {{issuers: {issuers}}}}}")
    now = int(time.time())
    claims = {"iss": "id", "aud": "wirekey", "sub": "svc", "iat": now, "nbf": now, "exp": now + 600, "groups": ["ops"]}
    verified = await jwt_service.identify(opened(service), token({"alg": "EdDSA"}, claims, ed_key()))
    assert verified.find_agent(agents, now) == Agent("svc", permissions=(), labels=(("team", "ops"),))


async def test_a_verified_token_is_restored_from_its_values_in_another_process(prepared, agents):
    service = prepared()
    verified = await jwt_service.identify(opened(service), access_token(service, agents))
    values = msgspec.json.decode(msgspec.json.encode(verified.values()))
    restored = jwt_service.restored_token(values, opened(service))
    assert restored.values() == verified.values()
    assert restored.find_agent(agents, time.time()).id == "alice"
    agents.revoke("alice")
    assert restored.find_agent(agents, time.time()) is None


def test_a_token_of_an_issuer_that_is_not_known_is_not_restored(prepared):
    values = ["stranger", 2e9, "thumbprint", {"id": "alice"}, None]
    assert jwt_service.restored_token(values, opened(prepared())) is None
    assert jwt_service.restored_token(values, NONE) is None


def test_new_keys_of_another_process_are_used_after_a_refresh(prepared):
    service, other = prepared(), prepared()
    other.keys.rotate()
    assert service.keys.document() != other.keys.document()
    jwt_service.keep_fresh(NONE)
    jwt_service.keep_fresh(opened(service))
    assert service.keys.document() == other.keys.document()


@pytest.mark.parametrize(
    ("text", "status", "paths"), [("", 200, (TOKEN_PATH,)), (ELSEWHERE, 404, ())], ids=["here", "elsewhere"]
)
def test_the_endpoints_respond_only_if_tokens_are_issued_here(prepared, agents, text, status, paths):
    service = prepared(text)
    assert jwt_service.paths_in_use(opened(service)) == paths
    handlers = jwt_service.routes(lambda: opened(service), lambda: None)
    response = handlers[KEYS_PATH](LocalRequest("GET", KEYS_PATH, (), "192.0.2.1"))
    assert response.status == status
    if status == 200:
        assert response.body == service.keys.document()
    else:
        for path, handler in handlers.items():
            refused = handler(LocalRequest("POST", path, (), "192.0.2.1"))
            assert json.loads(refused.body)["error"] == "not_found"
            assert b"identity.jwt.jwks_url" in refused.body


def test_the_endpoints_follow_the_services_as_they_are_now(prepared):
    services = [NONE]
    keys = jwt_service.routes(lambda: services[-1], lambda: None)[KEYS_PATH]
    request = LocalRequest("GET", KEYS_PATH, (), "192.0.2.1")
    assert keys(request).status == 404
    services.append(opened(prepared()))
    assert keys(request).status == 200


def test_a_body_that_was_too_long_to_read_is_refused(prepared):
    handler = jwt_service.routes(lambda: opened(prepared()), lambda: None)[TOKEN_PATH]
    request = LocalRequest("POST", TOKEN_PATH, (("content-type", "application/json"),), "192.0.2.1", body=None)
    response = handler(request)
    assert (response.status, json.loads(response.body)["error"]) == (400, "invalid_request")


def test_neither_the_keys_nor_the_endpoint_are_in_a_repr(prepared):
    service = prepared()
    private = [key["private"] for key in json.loads(service.keys.path.read_text())["keys"]]
    shown = repr(replace(service))
    assert private
    assert not any(each in shown for each in private)
    assert "endpoint" not in shown
