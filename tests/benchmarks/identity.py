"""What it costs to know who calls by a JWT: python -m tests.benchmarks.identity [--rounds N]

Medians of the rounds, in microseconds: a token found again by its hash (each call but the first, and each request in a
tunnel), the hash of a token of a header, the first verification, and the making of a token. Exits with 1 where a token
that is found again, with its hash, takes more than 20.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from tests.features.jwt.jwt_making import ec_key, jwk, jwks, rsa_key, token
from wirekey.core.identity.agents import AgentStore
from wirekey.core.identity.tokens import token_digest
from wirekey.features.jwt.config import JWTConfig, JWTIssuerConfig
from wirekey.features.jwt.issuers import TokenIssuer, own_issuer
from wirekey.features.jwt.jwk import key_set
from wirekey.features.jwt.signing_keys import JwtSigningKeys
from wirekey.features.jwt.tokens import JwtTokens

MOST = 20.0


def verify(tokens, text, now):
    tokens.remembered.clear()
    running = tokens.identify(text, now)
    try:
        running.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("a known key is not waited for")


def tasks(folder):
    now = int(time.time())
    agents = AgentStore(folder / "agents.json")
    client = agents.add_client("alice", role="ops")
    keys = JwtSigningKeys(folder / "jwt-keys.json", 3600)
    claims = {"aud": "wirekey", "iat": now, "nbf": now, "exp": now + 600, "sub": "svc"}
    own = {**claims, "iss": "wirekey", "sub": "alice", "client_id": client.client_id}
    own["permissions"] = ["web:read", "web:write"]
    settings = JWTIssuerConfig(issuer="id", jwks_url="https://id.example/")
    allowed = settings.algorithms
    found = key_set(jwks(jwk(rsa_key(), kid="rsa"), jwk(ec_key(), kid="ec")), allowed)
    tokens = JwtTokens(
        [own_issuer(JWTConfig(), keys), TokenIssuer("id", "wirekey", allowed, 86400, found, settings)], agents
    )
    ours = keys.sign(own)
    rsa = token({"alg": "RS256", "kid": "rsa"}, {**claims, "iss": "id"}, rsa_key())
    ec = token({"alg": "ES256", "kid": "ec"}, {**claims, "iss": "id"}, ec_key())
    remembered = JwtTokens(tokens.issuers, agents)
    for text in (ours, rsa):
        asyncio.run(remembered.identify(text, now))
    return {
        "found again, ours": (partial(remembered.find, token_digest(ours), now), 5000),
        "found again, another issuer's": (partial(remembered.find, token_digest(rsa), now), 5000),
        "hash of a token": (partial(token_digest, ours), 5000),
        "first time, ours (EdDSA)": (partial(verify, tokens, ours, now), 200),
        "first time, RS256": (partial(verify, tokens, rsa, now), 200),
        "first time, ES256": (partial(verify, tokens, ec, now), 200),
        "a token made": (partial(keys.sign, own), 200),
    }


def microseconds(work, calls):
    begun = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - begun) / calls * 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        medians = {
            name: statistics.median(microseconds(work, calls) for _ in range(rounds))
            for name, (work, calls) in tasks(Path(folder)).items()
        }
    for name, median in medians.items():
        print(f"{name:<32} {median:8.2f} µs")
    sys.exit(medians["found again, ours"] + medians["hash of a token"] > MOST)


if __name__ == "__main__":
    main()
