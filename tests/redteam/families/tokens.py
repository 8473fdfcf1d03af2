"""Tokens that identify nobody, in each place where a token can be: of ended runs, revoked, changed, forged."""

from __future__ import annotations

import base64
import hashlib
import json
import time

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


NOW = int(time.time())
RSA, EVIL = rsa_key(), rsa_key("evil")
CLAIMS = {"iss": ISSUER, "aud": "wirekey", "sub": "svc", "iat": NOW, "nbf": NOW, "exp": NOW + 600}
HEADER = {"alg": "RS256", "typ": "JWT"}
PART = b64(json.dumps(CLAIMS).encode())
GOOD = token(HEADER, CLAIMS, RSA)
HEAD, BODY, SIGNATURE = GOOD.split(".")
JSON_WEB_TOKENS = {
    "alg none": f"{b64(b'{"alg":"none"}')}.{PART}.",
    "alg nOnE with a signature": f"{b64(b'{"alg":"nOnE"}')}.{PART}.{SIGNATURE}",
    "HS256 with the public key": token({**HEADER, "alg": "HS256"}, CLAIMS, pem(RSA)),
    "HS256 with the public key in one line": token({**HEADER, "alg": "HS256"}, CLAIMS, pem(RSA).replace(b"\n", b"")),
    "HS256 with an empty key": token({**HEADER, "alg": "HS256"}, CLAIMS, b"\0"),
    "HS256 with the name of the issuer": token({**HEADER, "alg": "HS256"}, CLAIMS, ISSUER.encode()),
    "a key of its own": token(HEADER, CLAIMS, EVIL),
    "a key of its own in jwk": token({**HEADER, "jwk": jwk(EVIL)}, CLAIMS, EVIL),
    "a key of its own at jku": token({**HEADER, "jku": "http://127.0.0.1:1/jwks"}, CLAIMS, EVIL),
    "a key of its own at x5u": token({**HEADER, "x5u": "http://127.0.0.1:1/cert"}, CLAIMS, EVIL),
    "a key of its own in x5c": token({**HEADER, "x5c": ["MIIB"]}, CLAIMS, EVIL),
    "a path in kid": token({**HEADER, "kid": "../../../../dev/null"}, CLAIMS, EVIL),
    "SQL in kid": token({**HEADER, "kid": "' UNION SELECT 'x' --"}, CLAIMS, EVIL),
    "a command in kid": token({**HEADER, "kid": "| id"}, CLAIMS, EVIL),
    "a kid of 10,000 letters": token({**HEADER, "kid": "x" * 10_000}, CLAIMS, EVIL),
    "a critical extension": token({**HEADER, "crit": ["exp"]}, CLAIMS, RSA),
    "a payload that is not encoded": token({**HEADER, "b64": False, "crit": ["b64"]}, CLAIMS, RSA),
    "compressed": token({**HEADER, "zip": "DEF"}, CLAIMS, RSA),
    "ES256 with its own key": token({**HEADER, "alg": "ES256"}, CLAIMS, ec_key()),
    "ES256 with a signature of zeros": f"{b64(b'{"alg":"ES256"}')}.{PART}.{b64(bytes(64))}",
    "EdDSA with its own key": token({**HEADER, "alg": "EdDSA"}, CLAIMS, ed_key()),
    "PS256 with the right key": token({**HEADER, "alg": "PS256"}, CLAIMS, RSA),
    "RS512 with the right key": token({**HEADER, "alg": "RS512"}, CLAIMS, RSA),
    "expired": token(HEADER, {**CLAIMS, "iat": NOW - 900, "nbf": NOW - 900, "exp": NOW - 300}, RSA),
    "not yet valid": token(HEADER, {**CLAIMS, "nbf": NOW + 500}, RSA),
    "issued in the future": token(HEADER, {**CLAIMS, "iat": NOW + 500}, RSA),
    "without exp": token(HEADER, {name: CLAIMS[name] for name in CLAIMS if name != "exp"}, RSA),
    "exp of 1e400": token(HEADER, json.dumps(CLAIMS).replace(str(NOW + 600), "1e400"), RSA),
    "exp as text": token(HEADER, {**CLAIMS, "exp": str(NOW + 600)}, RSA),
    "exp twice": token(HEADER, json.dumps({**CLAIMS, "exp": 1})[:-1] + f',"exp":{NOW + 600}}}', RSA),
    "a lifetime of a year": token(HEADER, {**CLAIMS, "exp": NOW + 31_536_000}, RSA),
    "another audience": token(HEADER, {**CLAIMS, "aud": "other"}, RSA),
    "no audience": token(HEADER, {**CLAIMS, "aud": []}, RSA),
    "another issuer": token(HEADER, {**CLAIMS, "iss": "https://evil.example"}, RSA),
    "the issuer wirekey": token(HEADER, {**CLAIMS, "iss": "wirekey"}, RSA),
    "the issuer with a slash": token(HEADER, {**CLAIMS, "iss": ISSUER + "/"}, RSA),
    "no subject": token(HEADER, {**CLAIMS, "sub": ""}, RSA),
    "a subject with control characters": token(HEADER, {**CLAIMS, "sub": "a\r\nb"}, RSA),
    "the subject alice, which is an agent here": token(HEADER, {**CLAIMS, "sub": "alice"}, RSA),
    "two signatures": f"{GOOD}.{SIGNATURE}",
    "two signatures of one": f"{GOOD}{SIGNATURE}",
    "claims of another": f"{HEAD}.{b64(json.dumps({**CLAIMS, 'sub': 'root'}).encode())}.{SIGNATURE}",
    "no signature": f"{HEAD}.{BODY}.",
    "a signature in another alphabet": f"{HEAD}.{BODY}.{SIGNATURE[:-2]}+/",
    "a signature with padding": GOOD + "==",
    "the form of JSON": json.dumps({"protected": HEAD, "payload": BODY, "signature": SIGNATURE}),
    "encrypted, in name": f"{GOOD}.{PART}.{PART}",
    "claims that are a list": token(HEADER, "[]", RSA),
    "two documents as claims": token(HEADER, json.dumps(CLAIMS) * 2, RSA),
    "alg twice": token('{"alg":"none","alg":"RS256"}', CLAIMS, RSA, "RS256"),
}


def signed(name: str, place: str) -> Technique:
    return Technique("JWT", f"{name}: {place}", lambda ground: sent(ground, place, JSON_WEB_TOKENS[name]), refused=True)


TECHNIQUES = [
    *(old(name, place) for name in OLD for place in PLACES),
    *(changed(name, place) for name in CHANGED for place in list(PLACES)[:3]),
    two("Authorization: Bearer {}", "x-api-key: {}"),
    two("Authorization: Bearer {}", "Authorization: Bearer {}"),
    two("x-goog-api-key: {}", "api-key: {}"),
    *(signed(name, "Bearer at the proxy") for name in JSON_WEB_TOKENS),
    *(signed(name, "Authorization at the gateway") for name in list(JSON_WEB_TOKENS)[::5]),
]
