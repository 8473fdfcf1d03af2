"""The agent of a verified token, the cache of verified tokens, and changes of the settings."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from tests.features.jwt.jwt_making import ec_key, ed_key, jwk, jwks, pem, rsa_key, token
from wirekey.core.call import Agent
from wirekey.core.identity.agents import AgentStore
from wirekey.core.identity.tokens import looks_like_jwt, token_digest
from wirekey.features.jwt import tokens as tokens_module
from wirekey.features.jwt.config import JWTConfig, JWTIssuerConfig, LabelClaims
from wirekey.features.jwt.issuers import TokenIssuer
from wirekey.features.jwt.jwk import VerificationKey, key_of_pem, key_set
from wirekey.features.jwt.reading import RefusedTokenError
from wirekey.features.jwt.signing_keys import JwtSigningKeys
from wirekey.features.jwt.tokens import JwtTokens, signing_keys

NOW = 1_800_000_000
KEY = ed_key()
HEADER = {"alg": "EdDSA"}
URL = "https://id.example/"
CLAIMS = {"iss": "id", "aud": "wirekey", "sub": "svc", "iat": NOW, "nbf": NOW, "exp": NOW + 600}


@pytest.fixture
def agents(tmp_path):
    return AgentStore(tmp_path / "agents.json", lambda: NOW)


def issuer(**settings):
    made = JWTIssuerConfig(issuer="id", jwks_url="https://id.example/", **settings)
    allowed = made.algorithms
    return TokenIssuer("id", made.audience, allowed, made.max_lifetime, key_set(jwks(jwk(KEY)), allowed), made)


AGENTS = [
    ("only a subject", {}, {}, Agent("svc", permissions=())),
    (
        "our own names for claims",
        {},
        {"role": "ops", "type": "service", "permissions": ["web:write", "web:read", "web:read"]},
        Agent("svc", "ops", "service", ("web:read", "web:write")),
    ),
    ("scope", {"claims": {"permissions": "scope"}}, {"scope": "openid web:read  email"},
     Agent("svc", None, None, ("email", "openid", "web:read"))),
    ("words that are no permission permit nothing", {}, {"permissions": ["", "a b", "é", "*", "web:read"]},
     Agent("svc", None, None, ("web:read",))),
    ("what all of the issuer's agents may", {"permissions": ["web:read"]}, {"permissions": ["web:write"]},
     Agent("svc", None, None, ("web:read", "web:write"))),
    ("a claim within another", {"claims": {"role": ["realm", "roles"]}}, {"realm": {"roles": ["ops"]}},
     Agent("svc", "ops", None, ())),
    ("a way that leads nowhere", {"claims": {"role": ["realm", "roles"]}}, {"realm": "x"},
     Agent("svc", permissions=())),
    ("a claim with a dot or slash in its name", {"claims": {"type": "https://ns.example/kind"}},
     {"https://ns.example/kind": "cli"}, Agent("svc", None, "cli", ())),
    ("another claim names the agent", {"claims": {"agent": "client_id"}}, {"client_id": "ci"},
     Agent("ci", permissions=())),
    ("a prefix", {"prefix": "id/"}, {}, Agent("id/svc", permissions=())),
    ("a subject as workloads have it", {}, {"sub": "system:serviceaccount:prod:bot"},
     Agent("system:serviceaccount:prod:bot", permissions=())),
    ("an audience of its own", {"audience": "https://llm.example"}, {"aud": "https://llm.example"},
     Agent("svc", permissions=())),
    ("without nbf, where it may be", {"nbf_required": False}, {"nbf": "absent"}, Agent("svc", permissions=())),
]  # fmt: skip


@pytest.mark.parametrize(("_", "settings", "claims", "agent"), AGENTS, ids=[row[0] for row in AGENTS])
async def test_claims_are_mapped_to_the_agent(agents, _, settings, claims, agent):
    claims = {name: value for name, value in {**CLAIMS, **claims}.items() if value != "absent"}
    tokens = JwtTokens([issuer(**settings)], agents)
    verified = await tokens.identify(token(HEADER, claims, KEY), NOW)
    assert tokens.find_agent(verified, NOW) == agent


async def test_nbf_is_checked_even_if_it_is_optional(agents):
    tokens = JwtTokens([issuer(nbf_required=False)], agents)
    for nbf in (NOW + 31, None, "1"):
        with pytest.raises(RefusedTokenError):
            await tokens.identify(token(HEADER, {**CLAIMS, "nbf": nbf}, KEY), NOW)


def test_claims_of_another_issuer_are_refused():
    for claims in ({**CLAIMS, "iss": "other"}, {name: CLAIMS[name] for name in CLAIMS if name != "iss"}):
        with pytest.raises(RefusedTokenError, match="is not from its issuer"):
            issuer().check_claims(claims, NOW)
    assert issuer().check_claims(CLAIMS, NOW) == CLAIMS["exp"]


ALGORITHMS = [
    *[(name, rsa_key()) for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")],
    ("ES256", ec_key()),
    ("ES384", ec_key("P-384")),
    ("ES512", ec_key("P-521")),
    ("EdDSA", KEY),
]


@pytest.mark.parametrize(("name", "private"), ALGORITHMS, ids=[name for name, _ in ALGORITHMS])
@pytest.mark.parametrize("source", ["key set", "file"])
async def test_each_algorithm_works_with_a_key_set_and_a_file(agents, name, private, source):
    made = JWTIssuerConfig(issuer="id", jwks_url="https://id.example/", algorithms=(name,))
    allowed = made.algorithms
    if source == "file":
        found = key_of_pem(pem(private), allowed)
        keys = key_set(jwks(), allowed)
        keys.find = lambda *_: found
        keys.holds = lambda _: True
    else:
        keys = key_set(jwks(jwk(private)), allowed)
    tokens = JwtTokens([TokenIssuer("id", "wirekey", allowed, 86400, keys, made)], agents)
    assert (await tokens.identify(token({"alg": name}, CLAIMS, private), NOW)).agent.id == "svc"
    for other, _ in ALGORITHMS:
        if other != name and other[:2] == name[:2] and other[0] != "E":
            with pytest.raises(RefusedTokenError, match="algorithm"):
                await tokens.identify(token({"alg": other}, CLAIMS, private), NOW)


async def test_a_token_is_verified_once(agents, monkeypatch):
    tokens = JwtTokens([issuer()], agents)
    text = token(HEADER, CLAIMS, KEY)
    times = []
    verifies = VerificationKey.verifies
    monkeypatch.setattr(VerificationKey, "verifies", lambda *a: times.append(1) or verifies(*a))
    first = await tokens.identify(text, NOW)
    assert await tokens.identify(text, NOW + 1) is first
    assert tokens.find(token_digest(text), NOW).id == "svc"
    assert len(times) == 1
    assert tokens.find(token_digest("other"), NOW) is None


async def test_the_cache_of_verified_tokens_is_bounded(agents, monkeypatch):
    monkeypatch.setattr(tokens_module, "MAX_REMEMBERED", 3)
    tokens = JwtTokens([issuer()], agents)
    texts = [token(HEADER, {**CLAIMS, "jti": str(n)}, KEY) for n in range(5)]
    for text in texts:
        await tokens.identify(text, NOW)
    assert [tokens.find(token_digest(text), NOW) is not None for text in texts] == [False, False, True, True, True]
    assert await tokens.identify(texts[0], NOW)


def fetch(_):
    return jwks(jwk(KEY))


GROUPS = {"groups": ["search", "two words"], "org": {"cc": 4711, "flags": {}}, "a.b": "c"}


@pytest.mark.parametrize(
    ("path", "labels", "invalid"),
    [
        ("groups.0", (("team", "search"),), ()),
        ("groups.1", (), ("team",)),
        ("groups.2", (), ()),
        ("groups.x", (), ()),
        ("groups", (), ("team",)),
        ("org.cc", (("team", "4711"),), ()),
        ("org.flags", (), ("team",)),
        ("org.missing.cc", (), ()),
        (["a.b"], (("team", "c"),), ()),
        ("a.b", (), ()),
        ("sub", (("team", "svc"),), ()),
    ],
)
async def test_labels_are_claims_of_a_verified_token(agents, path, labels, invalid):
    claim = LabelClaims(claims={"team": path}).claims["team"]
    one = replace(issuer(), label_claims=(("team", claim.names),))
    tokens = JwtTokens([one], agents)
    agent = (await tokens.identify(token(HEADER, CLAIMS | GROUPS, KEY), NOW)).agent
    assert (agent.labels, agent.invalid_labels) == (labels, invalid)


async def test_other_claims_for_labels_need_the_token_again(agents):
    settings = JWTConfig(jwks_url="https://own.example/", issuers=(JWTIssuerConfig(issuer="id", jwks_url=URL),))
    before = JwtTokens.of_settings(settings, agents, None, fetch)
    text = token(HEADER, CLAIMS | GROUPS, KEY)
    held = await before.identify(text, NOW)
    after = JwtTokens.of_settings(settings, agents, None, fetch, before, label_claims=(("team", ("groups", "0")),))
    assert after.find_agent(held, NOW) is None
    assert (await after.identify(text, NOW)).agent.labels == (("team", "search"),)


async def test_a_change_of_settings_keeps_tokens_of_unchanged_issuers_only(agents, tmp_path):
    keys = JwtSigningKeys(tmp_path / "jwt-keys.json", 3600, lambda: NOW)
    one = {"issuer": "id", "jwks_url": "https://id.example/"}
    before = JwtTokens.of_settings(JWTConfig(issuers=(JWTIssuerConfig(**one),)), agents, keys, fetch)
    held = await before.identify(token(HEADER, CLAIMS, KEY), NOW)

    same = JwtTokens.of_settings(JWTConfig(issuers=(JWTIssuerConfig(**one),)), agents, keys, fetch, before)
    assert same.find_agent(held, NOW)
    assert set(same.issuers) == set(before.issuers)
    assert same.find(token_digest(token(HEADER, CLAIMS, KEY)), NOW)

    other = JWTConfig(issuers=(JWTIssuerConfig(**one, audience="other"),))
    changed = JwtTokens.of_settings(other, agents, keys, fetch, same)
    assert changed.find_agent(held, NOW) is None
    with pytest.raises(RefusedTokenError, match="audience"):
        await changed.identify(token(HEADER, CLAIMS, KEY), NOW)

    gone = JwtTokens.of_settings(JWTConfig(), agents, keys, fetch, same)
    assert gone.find_agent(held, NOW) is None
    with pytest.raises(RefusedTokenError, match="issuer that is not known"):
        await gone.identify(token(HEADER, CLAIMS, KEY), NOW)


async def test_with_an_external_issuer_wirekey_issues_no_tokens(agents, tmp_path):
    settings = JWTConfig(issuer="id", jwks_url="https://id.example/")
    assert signing_keys(settings, tmp_path) is None
    tokens = JwtTokens.of_settings(settings, agents, None, fetch)
    assert (await tokens.identify(token(HEADER, CLAIMS, KEY), NOW)).agent == Agent("svc", None, None, ())
    assert not list(tmp_path.glob("jwt-keys*"))
    assert isinstance(signing_keys(JWTConfig(), tmp_path), JwtSigningKeys)


LOOKS = [
    ("eyJhbGciOiJub25lIn0.e30.", True),
    ("eyJhbGciOiJkaXIifQ..a.b.c", True),
    ("eyJhbGciOiJub25lIn0", False),
    ("wk_" + "a" * 43, False),
    ("sk-proj-abc", False),
    ("", False),
]


@pytest.mark.parametrize(("value", "is_one"), LOOKS)
def test_values_in_jwt_format_are_distinguished_from_keys(value, is_one):
    assert looks_like_jwt(value) is is_one


async def test_finding_a_verified_token_costs_no_cryptography(agents, tmp_path):
    keys = JwtSigningKeys(tmp_path / "jwt-keys.json", 3600, lambda: NOW)
    tokens = JwtTokens.of_settings(JWTConfig(issuers=()), agents, keys, fetch)
    client = agents.add_client("alice")
    own = {"iss": "wirekey", "sub": "alice", "client_id": client.client_id}
    claims = {**CLAIMS, **own, "permissions": ["web:read", "web:write"]}
    text = keys.sign(claims)
    digest = token_digest(text)
    await tokens.identify(text, NOW)

    def spent(work, rounds):
        best = float("inf")
        for _ in range(5):
            begun = time.perf_counter()
            for _ in range(rounds):
                work()
            best = min(best, (time.perf_counter() - begun) / rounds)
        return best * 1e6

    found, signed = spent(lambda: tokens.find(digest, NOW), 2000), spent(lambda: keys.sign(claims), 50)
    assert found < signed, "finding a token again costs no cryptography"
