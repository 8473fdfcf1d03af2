"""THREATS 2.6 on JWTs, in the style of Wycheproof: each token is built by hand and refused for the stated reason."""

from __future__ import annotations

import asyncio
import base64
import json
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.features.jwt.jwt_making import b64, ec_key, ed_key, jwk, jwks, pem, rsa_key, token
from wirekey.core.identity.agents import AgentStore
from wirekey.core.identity.tokens import looks_like_jwt, token_digest
from wirekey.features.jwt.config import JWTConfig, JWTIssuerConfig
from wirekey.features.jwt.issuers import StaticKey, TokenIssuer, external_issuer, own_issuer
from wirekey.features.jwt.jwk import key_of_pem, key_set
from wirekey.features.jwt.reading import MAX_TOKEN, RefusedTokenError
from wirekey.features.jwt.signing_keys import JwtSigningKeys
from wirekey.features.jwt.token_endpoint import TokenEndpoint
from wirekey.features.jwt.token_request import TokenRequest
from wirekey.features.jwt.tokens import JwtTokens

NOW = 1_800_000_000
RSA, EC, ED = rsa_key(), ec_key(), ed_key()
ALGORITHMS = ("RS256", "ES256", "EdDSA")
KEYS = jwks(jwk(RSA, kid="rsa"), jwk(EC, kid="ec"), jwk(ED, kid="ed"))
CLAIMS = {"iss": "https://id.example", "aud": "wirekey", "sub": "svc", "iat": NOW, "nbf": NOW, "exp": NOW + 600}
HEADER = {"alg": "RS256", "kid": "rsa", "typ": "JWT"}


class Services:
    """Wirekey with an agent that has a client, and two external issuers. The second has one key, from a file."""

    def __init__(self, folder):
        self.now = float(NOW)
        self.agents = AgentStore(folder / "agents.json", lambda: self.now)
        self.keys = JwtSigningKeys(folder / "jwt-keys.json", 3600, lambda: self.now)
        self.settings = JWTConfig()
        other = JWTIssuerConfig(
            issuer="https://id.example", jwks_url="https://id.example/jwks", permissions=("web:read",)
        )
        fixed = JWTIssuerConfig(issuer="https://static.example", key=folder / "static.pem")
        self.issuers = [
            own_issuer(self.settings, self.keys),
            TokenIssuer(other.issuer, "wirekey", ALGORITHMS, 86400, key_set(KEYS, ALGORITHMS), other),
            TokenIssuer(fixed.issuer, "wirekey", ALGORITHMS, 86400, StaticKey(key_of_pem(pem(RSA), ALGORITHMS)), fixed),
        ]
        self.tokens = JwtTokens(self.issuers, self.agents)
        self.endpoint = TokenEndpoint(self.settings, self.keys, self.agents)
        self.client = self.agents.add_client("alice", role="developer", permissions=("web:read", "web:write"))

    def ask(self, client=None, address="192.0.2.1", **parameters):
        client = client or self.client
        body = {"grant_type": "client_credentials", "client_id": client.client_id, **parameters}
        body.setdefault("client_secret", client.client_secret.reveal())
        headers = [("Content-Type", "application/json")]
        return self.endpoint.respond(
            TokenRequest("POST", headers, json.dumps(body).encode(), address), self.now, self.now
        )

    def own(self, **parameters):
        response = self.ask(**parameters)
        assert response.status == 200, response.body
        return json.loads(response.body)["access_token"]

    async def who(self, text):
        return self.tokens.find_agent(await self.tokens.identify(text, self.now), self.now)

    async def refusal(self, text):
        with pytest.raises(RefusedTokenError) as caught:
            await self.tokens.identify(text, self.now)
        assert self.tokens.find(token_digest(text), self.now) is None
        self.unremembered = token_digest(text) not in self.tokens.remembered
        return str(caught.value)


@pytest.fixture
def services(tmp_path):
    return Services(tmp_path)


GOOD = [
    ("RS256", token(HEADER, CLAIMS, RSA)),
    ("ES256", token({"alg": "ES256", "kid": "ec"}, CLAIMS, EC)),
    ("EdDSA", token({"alg": "EdDSA", "kid": "ed"}, CLAIMS, ED)),
    ("no kid, one key fits", token({"alg": "RS256"}, CLAIMS, RSA)),
    ("aud is a list with ours", token(HEADER, {**CLAIMS, "aud": ["other", "wirekey"]}, RSA)),
    ("typ application/at+jwt", token({**HEADER, "typ": "application/AT+JWT"}, CLAIMS, RSA)),
    ("the key's file, any kid", token({**HEADER, "kid": "?"}, {**CLAIMS, "iss": "https://static.example"}, RSA)),
    ("expired within the leeway", token(HEADER, {**CLAIMS, "iat": NOW - 600, "nbf": NOW - 600, "exp": NOW - 29}, RSA)),
    ("issued within the leeway", token(HEADER, {**CLAIMS, "iat": NOW + 30, "nbf": NOW + 30}, RSA)),
]


@pytest.mark.parametrize(("_", "text"), GOOD, ids=[name for name, _ in GOOD])
async def test_a_valid_token_is_accepted(services, _, text):
    assert (await services.who(text)).id == "svc"
    assert looks_like_jwt(text)


def changed(text, part, change):
    parts = text.split(".")
    parts[part] = change(parts[part])
    return ".".join(parts)


def encoded(value):
    return b64(json.dumps(value).encode())


def flipped(segment):
    content = bytearray(base64.urlsafe_b64decode(segment + "=="))
    content[0] ^= 1
    return b64(bytes(content))


GOOD_RSA, GOOD_EC, GOOD_ED = GOOD[0][1], GOOD[1][1], GOOD[2][1]
UNSIGNED = f"{encoded({'alg': 'none'})}.{encoded(CLAIMS)}"
EMBEDDED = {"alg": "EdDSA", "kid": "evil", "jwk": jwk(ed_key("evil"), kid="evil")}
WITHOUT_KID = {"alg": "EdDSA", "jwk": EMBEDDED["jwk"]}
NOT_ITS_ALGORITHM, NOT_ITS_KEY, NOT_ITS_SIGNATURE = (
    "algorithm that is not its issuer's",
    "key that is not its issuer's",
    "signature that is not its issuer's",
)

OPEN_CLAIMS = json.dumps(CLAIMS)[:-1]

J1 = [
    ("alg none, no signature", UNSIGNED + ".", "not base64url"),
    ("alg none, a signature", UNSIGNED + ".AA", NOT_ITS_ALGORITHM),
    *[
        (f"alg {name}", token({**HEADER, "alg": name}, CLAIMS, RSA, "RS256"), NOT_ITS_ALGORITHM)
        for name in ("None", "NONE", "nOnE", "", "RS256 ", "rs256", "RS384", "PS256", "ES256K", "HS256", "RSA1_5")
    ],
    ("alg is no text", token({**HEADER, "alg": ["RS256"]}, CLAIMS, RSA, "RS256"), "does not name its algorithm"),
    ("alg is missing", token({"kid": "rsa"}, CLAIMS, RSA, "RS256"), "does not name its algorithm"),
    ("HS256 with the public key as PEM", token({"alg": "HS256", "kid": "rsa"}, CLAIMS, pem(RSA)), NOT_ITS_ALGORITHM),
    ("HS256 with the key set", token({"alg": "HS256", "kid": "rsa"}, CLAIMS, KEYS), NOT_ITS_ALGORITHM),
    ("HS256 with an empty key", token({"alg": "HS256"}, CLAIMS, b""), NOT_ITS_ALGORITHM),
    ("EdDSA by the RSA key's id", token({"alg": "EdDSA", "kid": "rsa"}, CLAIMS, ED), NOT_ITS_KEY),
    ("ES256 by the Ed25519 key's id", token({"alg": "ES256", "kid": "ed"}, CLAIMS, EC), NOT_ITS_KEY),
    ("psychic signature: r = s = 0", changed(GOOD_EC, 2, lambda _: b64(bytes(64))), NOT_ITS_SIGNATURE),
    ("r = s = 1", changed(GOOD_EC, 2, lambda _: b64((b"\0" * 31 + b"\1") * 2)), NOT_ITS_SIGNATURE),
    ("an ES256 signature in DER", changed(GOOD_EC, 2, lambda _: b64(b"\x30\x06\2\1\1\2\1\1")), NOT_ITS_SIGNATURE),
    ("all zero EdDSA", changed(GOOD_ED, 2, lambda _: b64(bytes(64))), NOT_ITS_SIGNATURE),
    ("all zero RS256", changed(GOOD_RSA, 2, lambda _: b64(bytes(256))), NOT_ITS_SIGNATURE),
    ("a bit of the signature", changed(GOOD_RSA, 2, flipped), NOT_ITS_SIGNATURE),
    ("a short signature", changed(GOOD_RSA, 2, lambda s: s[:-6]), NOT_ITS_SIGNATURE),
    ("a longer signature", changed(GOOD_RSA, 2, lambda s: s + "AAAA"), NOT_ITS_SIGNATURE),
    ("other claims", changed(GOOD_RSA, 1, lambda _: encoded({**CLAIMS, "sub": "root"})), NOT_ITS_SIGNATURE),
    ("another header", changed(GOOD_RSA, 0, lambda _: encoded({**HEADER, "x": 1})), NOT_ITS_SIGNATURE),
    ("another's key, our kid", token(HEADER, CLAIMS, rsa_key("evil")), NOT_ITS_SIGNATURE),
    ("embedded jwk", token(EMBEDDED, CLAIMS, ed_key("evil")), NOT_ITS_KEY),
    ("embedded jwk, known kid", token({**EMBEDDED, "kid": "ed"}, CLAIMS, ed_key("evil")), NOT_ITS_SIGNATURE),
    ("embedded jwk, no kid", token(WITHOUT_KID, CLAIMS, ed_key("evil")), NOT_ITS_SIGNATURE),
    ("jku", token({"alg": "EdDSA", "kid": "x", "jku": "https://evil.example/j"}, CLAIMS, ed_key("evil")), NOT_ITS_KEY),
    ("x5u", token({"alg": "RS256", "kid": "x", "x5u": "https://evil.example/c"}, CLAIMS, rsa_key("evil")), NOT_ITS_KEY),
    ("x5c", token({**HEADER, "x5c": ["AAAA"]}, CLAIMS, rsa_key("evil")), NOT_ITS_SIGNATURE),
    *[
        (f"kid {kid!r}", token({"alg": "HS256", "kid": kid}, CLAIMS, b""), NOT_ITS_ALGORITHM)
        for kid in ("../../../dev/null", "/dev/null", "' UNION SELECT 'key' --", "rsa\0", "|id", "http://evil.example")
    ],
    *[
        (f"kid {kid!r}, RS256", token({"alg": "RS256", "kid": kid}, CLAIMS, rsa_key("evil")), NOT_ITS_KEY)
        for kid in ("../../../dev/null", "' OR 1=1 --", "rsa\0", "RSA", "rsa ")
    ],
    *[
        (f"kid {kid!r}"[:30], token({"alg": "RS256", "kid": kid}, CLAIMS, RSA), "has an invalid key id")
        for kid in ("", None, 7, ["rsa"], {"rsa": 1}, True, "k" * 257)
    ],
    ("crit", token({**HEADER, "crit": ["exp"]}, CLAIMS, RSA), "crit in its header"),
    ("crit of what is unknown", token({**HEADER, "crit": ["x"], "x": 1}, CLAIMS, RSA), "crit in its header"),
    ("b64 false", token({**HEADER, "b64": False}, CLAIMS, RSA), "b64 in its header"),
    ("kid twice", token('{"alg":"RS256","kid":"x","kid":"rsa"}', CLAIMS, RSA, "RS256"), "exactly one way"),
    ("alg twice", token('{"alg":"none","alg":"RS256","kid":"rsa"}', CLAIMS, RSA, "RS256"), "exactly one way"),
    ("sub twice", token(HEADER, OPEN_CLAIMS + ', "sub": "root"}', RSA), "exactly one way"),
    ("a claim twice, escaped", token(HEADER, OPEN_CLAIMS + r', "s\u0075b": "root"}', RSA), "exactly one way"),
    ("a name twice, deep", token(HEADER, OPEN_CLAIMS + ', "x": [{"a":1,"a":2}]}', RSA), "exactly one way"),
    ("NaN in any claim", token(HEADER, OPEN_CLAIMS + ', "x": NaN}', RSA), "exactly one way"),
    ("typ dpop+jwt", token({**HEADER, "typ": "dpop+jwt"}, CLAIMS, RSA), "of a type"),
    ("typ logout+jwt", token({**HEADER, "typ": "logout+jwt"}, CLAIMS, RSA), "of a type"),
    ("typ is a number", token({**HEADER, "typ": 1}, CLAIMS, RSA), "has an invalid type"),
    ("header is a list", token('["RS256"]', CLAIMS, RSA, "RS256"), "no JSON object"),
    ("claims are a text", token(HEADER, '"svc"', RSA), "no JSON object"),
    ("a byte order mark", token(HEADER, "\ufeff" + json.dumps(CLAIMS), RSA), "exactly one way"),
    ("two parts", GOOD_RSA.rpartition(".")[0], "three parts"),
    ("four parts", GOOD_RSA + ".AAAA", "three parts"),
    ("JSON serialization", json.dumps({"payload": "AA", "signature": "AA"}), "three parts"),
    ("nothing", "", "three parts"),
    ("dots", "..", "not base64url"),
    ("padding", GOOD_ED + "==", "not base64url"),
    ("standard base64", changed(GOOD_RSA, 2, lambda s: "+/" + s[2:]), "not base64url"),
    ("a line break", GOOD_RSA + "\n", "not base64url"),
    ("a space", " " + GOOD_RSA, "not base64url"),
    ("look-alike letters", GOOD_RSA.replace("e", "е", 1), "not base64url"),
    ("spare bits", GOOD_ED[:-1] + chr(ord(GOOD_ED[-1]) + 1), "in another way"),
    ("one letter too many", GOOD_ED + "AAA", "not base64url"),
]  # fmt: skip


@pytest.mark.parametrize(("_", "text", "reason"), J1, ids=[row[0] for row in J1])
async def test_J1_what_its_header_says_gives_a_token_no_trust(services, _, text, reason):
    assert reason in await services.refusal(text)


async def test_J1_an_id_that_two_keys_have_is_nobodys(services):
    other = rsa_key("two")
    both = key_set(jwks(jwk(RSA, kid="same"), jwk(other, kid="same"), jwk(EC, kid="ec")), ALGORITHMS)
    assert both.find("same", "RS256") is None
    assert both.find("ec", "ES256")
    twice = key_set(jwks(jwk(RSA, kid="same"), jwk(RSA, kid="same", use="sig")), ALGORITHMS)
    assert twice.find("same", "RS256")


def test_J1_a_key_verifies_by_no_algorithm_but_its_own():
    key = key_set(KEYS, ALGORITHMS).find("rsa", "RS256")
    head, _, signature = GOOD_RSA.rpartition(".")
    signature = base64.urlsafe_b64decode(signature + "==")
    assert key.verifies("RS256", head.encode(), signature)
    for other in ("none", "RS384", "HS256", ""):
        assert not key.verifies(other, head.encode(), b"" if other == "none" else signature)


async def test_J1_without_an_id_a_key_is_found_only_if_there_is_no_choice():
    two = key_set(jwks(jwk(RSA, kid="a"), jwk(rsa_key("two"), kid="b")), ALGORITHMS)
    assert two.find(None, "RS256") is None
    assert two.find("a", "RS256")


UNUSABLE = [
    ("for encryption", jwk(RSA, use="enc")),
    ("for signing only", jwk(RSA, key_ops=["sign"])),
    ("another algorithm", jwk(RSA, alg="RS512")),
    ("another family", jwk(RSA, alg="ES256")),
    ("with its private part", jwk(ED, d=b64(ED.private_bytes_raw()))),
    ("a shared secret", {"kty": "oct", "k": "AAAA"}),
    ("a shared secret for HS256", {"kty": "oct", "k": "AAAA", "alg": "HS256"}),
    ("RSA of 1024 bits", jwk(rsa_key("weak", 1024))),
    ("RSA that takes long", {**jwk(RSA), "e": b64(b"\xff" * 255)}),
    ("RSA with exponent 1", {**jwk(RSA), "e": b64(b"\1")}),
    ("not on the curve", {**jwk(EC), "y": b64(bytes(32))}),
    ("P-521, which this issuer does not use", jwk(ec_key("P-521"))),
    ("an unknown curve", {**jwk(EC), "crv": "P-192"}),
    ("crv of another kind", {**jwk(ED), "crv": "P-256"}),
    ("crv is a list", {**jwk(ED), "crv": ["Ed25519"]}),
    ("Ed25519 too short", {**jwk(ED), "x": "AAAA"}),
    ("no members", {"kty": "RSA"}),
    ("kid is a number", jwk(RSA, kid=1)),
    ("no object", "key"),
    ("null", None),
]


@pytest.mark.parametrize(("_", "member"), UNUSABLE, ids=[row[0] for row in UNUSABLE])
def test_J1_a_key_that_is_not_for_this_is_passed_over(_, member):
    assert len(key_set(jwks(member, jwk(EC, kid="good")), ALGORITHMS)) == 1


NOT_MOMENTS = ["absent", None, "1800000000", 1.8e9, True, [NOW], -1, 0, 1 << 60, 10**400]
J2 = [
    *[
        (f"{name} {value!r}"[:40], {name: value}, f"does not have {name} as a whole number")
        for name in ("exp", "nbf", "iat")
        for value in NOT_MOMENTS
    ],
    *[(f"aud {value!r}"[:40], {"aud": value}, "audience differs")
      for value in ("absent", None, "", "other", "wirekey ", "Wirekey", 1, [], ["other"], ["wirekey", 1], [["wirekey"]],
                    {"wirekey": 1}, ["x"] * 32 + ["wirekey"])],
    *[(f"iss {value!r}"[:40], {"iss": value}, "an issuer that is not known")
      for value in ("absent", None, "", "https://evil.example", "https://id.example/", "HTTPS://id.example", 1,
                    ["https://id.example"])],
    *[(f"sub {value!r}"[:40], {"sub": value}, "in sub") for value in ("absent", None, "", 1, ["svc"], {"a": 1})],
    *[(f"sub {value!r}"[:40], {"sub": value}, "does not name the agent in sub")
      for value in ("two words", "a\r\nb", "é", "ѕvc", "\0", "x" * 256, "\u202e")],
    ("expired", {"iat": NOW - 700, "nbf": NOW - 700, "exp": NOW - 30}, "has expired"),
    ("expired long ago", {"iat": 1, "nbf": 1, "exp": 2}, "has expired"),
    ("nbf ahead", {"nbf": NOW + 31}, "not valid yet"),
    ("iat ahead", {"iat": NOW + 31}, "not valid yet"),
    ("far future", {"exp": NOW + 86401}, "good for longer than"),
    ("forever", {"exp": (1 << 53) - 1}, "good for longer than"),
    ("ends before it begins", {"iat": NOW + 20, "nbf": NOW + 20, "exp": NOW + 10}, "no time at all"),
    ("ends as it begins", {"nbf": NOW + 10, "exp": NOW + 10}, "no time at all"),
    *[(f"role {value!r}", {"role": value}, "one word in role")
      for value in (1, "two words", ["a", "b"], {}, "x" * 65, "a\nb", True)],
    ("type", {"type": 1}, "one word in type"),
    *[(f"permissions {value!r}", {"permissions": value}, "no list of texts")
      for value in (1, {"web:write": 1}, [1], [["x"]])],
    ("permissions without end", {"permissions": [f"p{n}" for n in range(70)]}, "more than 64"),
]  # fmt: skip


def without_absent(claims):
    return {name: value for name, value in claims.items() if value != "absent"}


@pytest.mark.parametrize(("_", "change", "reason"), J2, ids=[row[0] for row in J2])
async def test_J2_each_claim_is_there_and_of_its_type(services, _, change, reason):
    assert reason in await services.refusal(token(HEADER, without_absent({**CLAIMS, **change}), RSA))
    assert services.unremembered


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1.8e9", "1800000600.0", "1E9", "9" * 5000]
)
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
async def test_J2_numbers_that_JSON_readers_disagree_on(services, name, text):
    claims = json.dumps({**CLAIMS, name: "@"}).replace('"@"', text)
    assert await services.refusal(token(HEADER, claims, RSA))


async def test_J2_the_claims_of_ours_are_typed_as_strictly(services):
    good = services.own()
    claims = json.loads(base64.urlsafe_b64decode(good.split(".")[1] + "=="))
    assert (await services.who(good)).id == "alice"
    for change, reason in [
        ({"aud": ["wirekey"]}, "audience differs"),
        ({"nbf": "absent"}, "nbf"),
        ({"client_id": "absent"}, "does not name the client"),
        ({"client_id": 1}, "does not name the client"),
        ({"permissions": "web:write"}, "does not name the client"),
        ({"client_id": "wkc_" + "a" * 22}, "revoked"),
        ({"sub": "bob"}, "revoked"),
        ({"exp": NOW + 3631}, "good for longer"),
    ]:
        assert reason in await services.refusal(services.keys.sign(without_absent({**claims, **change})))


async def test_J2_a_token_of_another_kind_does_not_pass_for_ours(services):
    kid, private = services.keys._signer
    claims = json.loads(base64.urlsafe_b64decode(services.own().split(".")[1] + "=="))
    for kind in ({}, {"typ": "JWT"}, {"typ": "id+jwt"}):
        assert "of a type" in await services.refusal(token({"alg": "EdDSA", "kid": kid, **kind}, claims, private))
    assert "key" in await services.refusal(token({"alg": "EdDSA", "typ": "at+jwt"}, claims, private))


J3 = [
    ("64 KiB", token(HEADER, {**CLAIMS, "x": "a" * 65536}, RSA), "is longer than"),
    ("one too many", "a" * (MAX_TOKEN + 1), "is longer than"),
    ("dots only", "." * MAX_TOKEN, "three parts"),
    ("a list in a list in …", token(HEADER, '{"x":' + "[" * 2700 + "]" * 2700 + "}", RSA), ""),
    ("an object in an object in …", token(HEADER, '{"a":' * 900 + "1" + "}" * 900, RSA), "issuer that is not known"),
    ("not closed", token(HEADER, "[" * 5500, RSA), "exactly one way"),
    ("JWE", "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..AAAA.AAAA.AAAA", "is encrypted"),
    ("compressed JWE", "eyJ6aXAiOiJERUYifQ.AA.AA.AA.AA", "is encrypted"),
    ("zip", token({**HEADER, "zip": "DEF"}, CLAIMS, RSA), "zip in its header"),
    ("not UTF-8", f"{encoded(HEADER)}.{b64(zlib.compress(b'{}'))}.AAAA", "exactly one way"),
    ("UTF-16", f"{b64(json.dumps(HEADER).encode('utf-16'))}.{encoded(CLAIMS)}.AAAA", "exactly one way"),
]  # fmt: skip


@pytest.mark.parametrize(("_", "text", "reason"), J3, ids=[row[0] for row in J3])
async def test_J3_tokens_that_are_work_to_read(services, _, text, reason):
    assert reason in await services.refusal(text)


async def test_J4_a_token_that_was_verified_ends_in_an_open_tunnel(services):
    text = services.own()
    held = await services.tokens.identify(text, services.now)
    digest = token_digest(text)
    assert services.tokens.find_agent(held, services.now).id == services.tokens.find(digest, services.now).id == "alice"
    services.now += 3600 + 29
    assert services.tokens.find_agent(held, services.now)
    services.now += 1
    assert services.tokens.find_agent(held, services.now) is None
    assert services.tokens.find(digest, services.now) is None
    assert "has expired" in await services.refusal(text)


@pytest.mark.parametrize("how", ["revoked", "client replaced", "revoked and added again"])
async def test_J4_tokens_of_a_revoked_agent_are_refused_at_once(services, how):
    text = services.own()
    held = await services.tokens.identify(text, services.now)
    if how == "client replaced":
        services.agents.rotate_client("alice")
    else:
        services.agents.revoke("alice")
        if how == "revoked and added again":
            services.agents.add_client("alice")
    assert services.tokens.find_agent(held, services.now) is None
    assert "revoked, or for client credentials that were replaced" in await services.refusal(text)


async def test_J4_a_key_that_was_taken_back_ends_its_tokens(services):
    text = services.own()
    held = await services.tokens.identify(text, services.now)
    services.keys.path.unlink()
    services.tokens.keep_fresh()
    assert services.tokens.find_agent(held, services.now) is None
    assert "took back" in await services.refusal(text)
    assert (await services.who(services.own())).id == "alice"


async def test_J5_each_token_stands_for_its_own_agent_in_any_order(services):
    bob = services.agents.add_client("bob", permissions=("web:read",))
    texts = {"alice": services.own(), "bob": services.own(client=bob), "svc": GOOD_RSA}
    for name in ("alice", "bob", "svc", "bob", "alice", "svc"):
        assert (await services.who(texts[name])).id == name


async def test_J6_an_issuer_cannot_name_agents_that_were_added_here(services):
    services.agents.add("carol")
    for name in ("alice", "carol"):
        assert "identity.jwt.issuers" in await services.refusal(token(HEADER, {**CLAIMS, "sub": name}, RSA))
    held = await services.tokens.identify(GOOD_RSA, services.now)
    services.agents.add("svc")
    assert services.tokens.find_agent(held, services.now) is None
    services.agents.revoke("svc")
    assert services.tokens.find_agent(held, services.now) is None


async def test_J6_one_issuers_key_signs_nothing_for_another(services):
    claims = {
        **CLAIMS,
        "iss": "wirekey",
        "client_id": services.client.client_id,
        "permissions": ["web:write"],
        "sub": "alice",
    }
    assert NOT_ITS_ALGORITHM in await services.refusal(token({**HEADER, "typ": "at+jwt"}, claims, RSA))
    assert NOT_ITS_KEY in await services.refusal(token({"alg": "EdDSA", "kid": "ed", "typ": "at+jwt"}, claims, ED))
    own = json.loads(base64.urlsafe_b64decode(services.own().split(".")[1] + "=="))
    assert NOT_ITS_KEY in await services.refusal(services.keys.sign({**own, "iss": "https://id.example"}))


async def test_J6_a_refusal_repeats_nothing_that_was_not_verified(services):
    secret = "do-not-repeat-this"
    for part in ({"iss": secret}, {"sub": f"{secret} é"}, {"aud": secret}, {"role": f"{secret} x"}, {"exp": secret}):
        reason = await services.refusal(token(HEADER, {**CLAIMS, **part}, RSA))
        assert secret not in reason
    assert secret not in await services.refusal(token({**HEADER, "kid": secret}, CLAIMS, RSA))
    assert secret not in await services.refusal(token({**HEADER, "alg": secret}, CLAIMS, RSA, "RS256"))


def test_J9_names_that_exist_and_names_that_do_not_are_answered_alike(services):
    unknown = "wkc_" + "x" * 22
    for _ in range(12):
        wrong = services.ask(client_secret="wks_no", address="192.0.2.7")
        nobody = services.ask(client_id=unknown, client_secret="wks_no", address="192.0.2.8")
        assert (wrong.status, wrong.headers, wrong.body) == (nobody.status, nobody.headers, nobody.body)
    assert wrong.status == 429


async def test_J9_permissions_that_were_taken_back_are_gone_from_tokens_too(services):
    text = services.own(scope="web:read")
    assert (await services.who(text)).permissions == ("web:read",)
    assert (await services.who(services.own())).permissions == ("web:read", "web:write")


def test_an_unusable_key_file_is_reported(tmp_path):
    from wirekey.features.jwt.issuers import IssuerError

    path = tmp_path / "id.pem"
    for content, reason in [
        (None, "No such file"),
        (b"", "no public key"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no public key"),
        (pem(rsa_key("weak", 1024)), "too weak"),
        (pem(ec_key("P-384")), "for ES384"),
    ]:
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(IssuerError, match=r"id\.pem") as caught:
            external_issuer(JWTIssuerConfig(issuer="a", key=path), lambda _: b"")
        assert reason in str(caught.value)
    path.write_bytes(pem(ED))
    assert external_issuer(JWTIssuerConfig(issuer="a", key=path), lambda _: b"").keys.find("any", "EdDSA")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
MEMBERS = st.sampled_from(
    ["alg", "kid", "typ", "iss", "aud", "sub", "exp", "nbf", "iat", "role", "type", "permissions"]
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=200) | st.lists(st.text("eyJ0-_=.A", max_size=20), min_size=2, max_size=5).map(".".join))
def test_J3_whatever_is_sent_as_a_token_is_refused_and_never_fails_otherwise(services, text):
    with pytest.raises(RefusedTokenError):
        asyncio.run(services.tokens.identify(text, NOW))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(MEMBERS, JSON_VALUES, max_size=3), st.dictionaries(MEMBERS, JSON_VALUES, max_size=3))
def test_J2_whatever_a_signed_token_says_is_believed_or_refused(services, header, claims):
    text = token({**HEADER, **header}, {**CLAIMS, **claims}, RSA, "RS256")
    try:
        agent = asyncio.run(services.tokens.identify(text, NOW)).agent
    except RefusedTokenError:
        return
    assert agent.id == {**CLAIMS, **claims}["sub"]
    assert all(isinstance(one, str) for one in agent.permissions)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=200) | JSON_VALUES.map(lambda value: json.dumps(value).encode()),
    st.sampled_from(["application/json", "application/x-www-form-urlencoded", "text/plain"]),
    st.text(max_size=60) | st.binary(max_size=60).map(lambda b: "Basic " + base64.b64encode(b).decode()),
    st.text(max_size=20),
)
def test_J9_whatever_is_sent_to_the_token_endpoint_is_answered(services, body, kind, authorization, address):
    headers = [("content-type", kind), ("authorization", authorization)]
    response = services.endpoint.respond(TokenRequest("POST", headers, body, address), NOW, NOW)
    assert response.status in (400, 401, 415, 429)
    assert json.loads(response.body)["error"]
