"""Tokens that identify nobody, in each place where a token can be: of ended runs, revoked, changed, forged."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from functools import cache

from tests.features.jwt.jwt_making import b64, ec_key, ed_key, jwk, pem, rsa_key, token
from tests.redteam.families.proxy import credentials
from tests.redteam.ground import ISSUER, Ground
from tests.redteam.technique import Technique
from tests.support.raw_client import post

OLD = (
    "a run that has ended", "an agent that was revoked", "a token that has expired", "a token that was dropped",
)  # fmt: skip
CHANGED = {
    "its token without the last letter": lambda token: token[:-1],
    "its token with a letter more": lambda token: token + "a",
    "its token in other cases": lambda token: token[:3] + token[3:].swapcase(),
    "its token with another letter": lambda token: token[:-1] + ("b" if token[-1] == "a" else "a"),
    "the hash of its token": lambda token: hashlib.sha256(token.encode()).hexdigest(),
    "the hash of its token, as a token": lambda token: f"wk_{hashlib.sha256(token.encode()).hexdigest()[:43]}",
    "its token twice": lambda token: token * 2,
    "its token without wk_": lambda token: token[3:],
    "its token in base64": lambda token: base64.b64encode(token.encode()).decode(),
    "its token, percent-encoded": lambda token: "".join(f"%{ord(letter):02x}" for letter in token),
}
PLACES = {
    "Basic at the proxy": lambda value: connect(f"Basic {credentials('bob', value)}"),
    "Bearer at the proxy": lambda value: connect(f"Bearer {value}"),
    "Authorization at the gateway": lambda value: post(f"Authorization: Bearer {value}", host="localhost"),
    "x-api-key at the gateway": lambda value: post(f"x-api-key: {value}", host="localhost"),
    "x-goog-api-key at the gateway": lambda value: post(f"x-goog-api-key: {value}", host="localhost"),
    "api-key at the gateway": lambda value: post(f"api-key: {value}", host="localhost"),
    "the query at the gateway": lambda value: post(path=f"/v1/chat/completions?key={value}", host="localhost"),
    "a subprotocol at the gateway": lambda value: post(
        "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.{value}",
        path="/v1/realtime?model=gpt-realtime", method="GET", body=b"", length=False, host="localhost",
    ),
}  # fmt: skip


def connect(proof: str) -> bytes:
    head = f"CONNECT api.openai.com:443 HTTP/1.1\r\nHost: api.openai.com:443\r\nProxy-Authorization: {proof}\r\n\r\n"
    return head.encode()


def sent(ground: Ground, place: str, value: str) -> str:
    data = PLACES[place](value)
    return ground.to_proxy(data) if place.endswith("proxy") else ground.to_listener("gateway", data)


def old(name: str, place: str) -> Technique:
    return Technique("token", f"{name}: {place}", lambda ground: sent(ground, place, ground.tokens[name]), refused=True)


def changed(name: str, place: str) -> Technique:
    return Technique(
        "token",
        f"{name}: {place}",
        lambda ground: sent(ground, place, CHANGED[name](ground.others["bob"])),
        refused=True,
    )


def two(first: str, second: str) -> Technique:
    """Identify as bob in one place and as alice in another."""

    def attack(ground: Ground) -> str:
        lines = (first.format(ground.others["bob"]), second.format(ground.token))
        return ground.to_listener("gateway", post(*lines, host="localhost"))

    return Technique("token", f"two agents: {first} and {second}", attack, refused=True)


RSA, EVIL = rsa_key(), rsa_key("evil")
HEADER = {"alg": "RS256", "typ": "JWT"}


def claims_of(now: int) -> dict[str, str | int]:
    return {"iss": ISSUER, "aud": "wirekey", "sub": "svc", "iat": now, "nbf": now, "exp": now + 600}


def good() -> str:
    """Return a token that is accepted."""
    return token(HEADER, claims_of(int(time.time())), RSA)


def json_web_tokens() -> dict[str, str]:
    """Return tokens that are each wrong in one way, and valid for ten minutes otherwise."""
    now = int(time.time())
    claims = claims_of(now)
    part = b64(json.dumps(claims).encode())
    right = token(HEADER, claims, RSA)
    head, body, signature = right.split(".")
    return {
        "alg none": f"{b64(b'{"alg":"none"}')}.{part}.",
        "alg nOnE with a signature": f"{b64(b'{"alg":"nOnE"}')}.{part}.{signature}",
        "HS256 with the public key": token({**HEADER, "alg": "HS256"}, claims, pem(RSA)),
        "HS256 with the public key in one line": token(
            {**HEADER, "alg": "HS256"}, claims, pem(RSA).replace(b"\n", b"")
        ),
        "HS256 with an empty key": token({**HEADER, "alg": "HS256"}, claims, b"\0"),
        "HS256 with the name of the issuer": token({**HEADER, "alg": "HS256"}, claims, ISSUER.encode()),
        "a key of its own": token(HEADER, claims, EVIL),
        "a key of its own in jwk": token({**HEADER, "jwk": jwk(EVIL)}, claims, EVIL),
        "a key of its own at jku": token({**HEADER, "jku": "http://127.0.0.1:1/jwks"}, claims, EVIL),
        "a key of its own at x5u": token({**HEADER, "x5u": "http://127.0.0.1:1/cert"}, claims, EVIL),
        "a key of its own in x5c": token({**HEADER, "x5c": ["MIIB"]}, claims, EVIL),
        "a path in kid": token({**HEADER, "kid": "../../../../dev/null"}, claims, EVIL),
        "SQL in kid": token({**HEADER, "kid": "' UNION SELECT 'x' --"}, claims, EVIL),
        "a command in kid": token({**HEADER, "kid": "| id"}, claims, EVIL),
        "a kid of 10,000 letters": token({**HEADER, "kid": "x" * 10_000}, claims, EVIL),
        "a critical extension": token({**HEADER, "crit": ["exp"]}, claims, RSA),
        "a payload that is not encoded": token({**HEADER, "b64": False, "crit": ["b64"]}, claims, RSA),
        "compressed": token({**HEADER, "zip": "DEF"}, claims, RSA),
        "ES256 with its own key": token({**HEADER, "alg": "ES256"}, claims, ec_key()),
        "ES256 with a signature of zeros": f"{b64(b'{"alg":"ES256"}')}.{part}.{b64(bytes(64))}",
        "EdDSA with its own key": token({**HEADER, "alg": "EdDSA"}, claims, ed_key()),
        "PS256 with the right key": token({**HEADER, "alg": "PS256"}, claims, RSA),
        "RS512 with the right key": token({**HEADER, "alg": "RS512"}, claims, RSA),
        "expired": token(HEADER, {**claims, "iat": now - 900, "nbf": now - 900, "exp": now - 300}, RSA),
        "not yet valid": token(HEADER, {**claims, "nbf": now + 500}, RSA),
        "issued in the future": token(HEADER, {**claims, "iat": now + 500}, RSA),
        "without exp": token(HEADER, {name: claims[name] for name in claims if name != "exp"}, RSA),
        "exp of 1e400": token(HEADER, json.dumps(claims).replace(str(now + 600), "1e400"), RSA),
        "exp as text": token(HEADER, {**claims, "exp": str(now + 600)}, RSA),
        "exp twice": token(HEADER, json.dumps({**claims, "exp": 1})[:-1] + f',"exp":{now + 600}}}', RSA),
        "a lifetime of a year": token(HEADER, {**claims, "exp": now + 31_536_000}, RSA),
        "another audience": token(HEADER, {**claims, "aud": "other"}, RSA),
        "no audience": token(HEADER, {**claims, "aud": []}, RSA),
        "another issuer": token(HEADER, {**claims, "iss": "https://evil.example"}, RSA),
        "the issuer wirekey": token(HEADER, {**claims, "iss": "wirekey"}, RSA),
        "the issuer with a slash": token(HEADER, {**claims, "iss": ISSUER + "/"}, RSA),
        "no subject": token(HEADER, {**claims, "sub": ""}, RSA),
        "a subject with control characters": token(HEADER, {**claims, "sub": "a\r\nb"}, RSA),
        "the subject alice, which is an agent here": token(HEADER, {**claims, "sub": "alice"}, RSA),
        "two signatures": f"{right}.{signature}",
        "two signatures of one": f"{right}{signature}",
        "claims of another": f"{head}.{b64(json.dumps({**claims, 'sub': 'root'}).encode())}.{signature}",
        "no signature": f"{head}.{body}.",
        "a signature in another alphabet": f"{head}.{body}.{signature[:-2]}+/",
        "a signature with padding": right + "==",
        "the form of JSON": json.dumps({"protected": head, "payload": body, "signature": signature}),
        "encrypted, in name": f"{right}.{part}.{part}",
        "claims that are a list": token(HEADER, "[]", RSA),
        "two documents as claims": token(HEADER, json.dumps(claims) * 2, RSA),
        "alg twice": token('{"alg":"none","alg":"RS256"}', claims, RSA, "RS256"),
    }


WRONG = tuple(json_web_tokens())
tokens_of_now = cache(json_web_tokens)
"""The tokens as made when the first one is tried, possibly long after this module was imported."""


def signed(name: str, place: str) -> Technique:
    return Technique("JWT", f"{name}: {place}", lambda ground: sent(ground, place, tokens_of_now()[name]), refused=True)


TECHNIQUES = [
    *(old(name, place) for name in OLD for place in PLACES),
    *(changed(name, place) for name in CHANGED for place in list(PLACES)[:3]),
    two("Authorization: Bearer {}", "x-api-key: {}"),
    two("Authorization: Bearer {}", "Authorization: Bearer {}"),
    two("x-goog-api-key: {}", "api-key: {}"),
    *(signed(name, "Bearer at the proxy") for name in WRONG),
    *(signed(name, "Authorization at the gateway") for name in WRONG[::5]),
]
