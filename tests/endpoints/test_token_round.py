"""A program gets a token over HTTP in each way that OAuth libraries use, and guessing is slowed."""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.error
import urllib.request

import jwt
import pytest
import requests

from tests.support.local_endpoints import PATIENCE, client, serving
from wirekey.core.identity.throttle import FREE
from wirekey.core.local_response import local_json

TOKEN, KEYS = "/api/v1/auth/token", "/.well-known/jwks.json"
ALONE = {"grant_type": "client_credentials"}


def by_form(url, token_server):
    """Send the credentials as requests-oauthlib's BackendApplicationClient does with include_client_id."""
    return requests.post(url, data=token_server.whole, timeout=PATIENCE)


def by_basic(url, token_server):
    """Send the credentials as requests-oauthlib, Authlib and most others do by default (client_secret_basic)."""
    return requests.post(url, data=ALONE, auth=(token_server.id, token_server.secret), timeout=PATIENCE)


def by_json(url, token_server):
    return requests.post(url, json=token_server.whole, timeout=PATIENCE)


def by_json_and_basic(url, token_server):
    return requests.post(url, json=ALONE, auth=(token_server.id, token_server.secret), timeout=PATIENCE)


def in_chunks(url, token_server):
    body = json.dumps(token_server.whole).encode()
    headers = {"content-type": "application/json"}
    return requests.post(url, data=iter([body[:10], body[10:]]), headers=headers, timeout=PATIENCE)


WAYS = [by_form, by_basic, by_json, by_json_and_basic, in_chunks]


@pytest.mark.parametrize("way", WAYS)
async def test_a_client_gets_a_token_that_the_published_keys_verify(token_server, way):
    async with serving(token_server.routes()) as server:
        url = f"http://{server.address}"
        response = await asyncio.to_thread(way, url + TOKEN, token_server)
        # PyJWT's own client of key sets, as a service that verifies these tokens has it.
        keys = jwt.PyJWKClient(url + KEYS, timeout=PATIENCE)
        assert response.status_code == 200
        assert response.headers["cache-control"] == "no-store"
        granted = response.json()
        assert granted.keys() == {"access_token", "token_type", "expires_in", "scope"}
        key = await asyncio.to_thread(keys.get_signing_key_from_jwt, granted["access_token"])
    claims = jwt.decode(granted["access_token"], key, algorithms=["EdDSA"], audience="wirekey", issuer="wirekey")
    assert (claims["sub"], claims["role"], claims["client_id"]) == ("alice", "ops", token_server.id)


async def test_the_standard_librarys_client_gets_a_token(token_server):
    def ask(url):
        shown = base64.b64encode(f"{token_server.id}:{token_server.secret}".encode()).decode()
        headers = {"Authorization": f"Basic {shown}"}
        request = urllib.request.Request(url, b"grant_type=client_credentials", headers)  # adds the type of forms
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return json.load(response)

    async with serving(token_server.routes()) as server:
        granted = await asyncio.to_thread(ask, f"http://{server.address}{TOKEN}")
    assert granted["token_type"] == "bearer"


async def test_errors_are_as_in_the_rfc(token_server):
    async with serving(token_server.routes()) as server, client(server) as http:
        wrong = {**token_server.whole, "client_secret": "wks_" + "x" * 43}
        shown = await http.post(TOKEN, data=ALONE, auth=(token_server.id, "wrong"))
        found = [
            await http.post(TOKEN, data=wrong),
            await http.post(TOKEN, data={**token_server.whole, "grant_type": "password"}),
            await http.post(TOKEN, data={**token_server.whole, "scope": "everything"}),
            await http.post(TOKEN, content=b"{", headers={"content-type": "application/json"}),
        ]
    assert (shown.status_code, shown.headers["www-authenticate"][:5]) == (401, "Basic")
    assert [(response.status_code, response.json()["error"]) for response in found] == [
        (401, "invalid_client"),
        (400, "unsupported_grant_type"),
        (400, "invalid_scope"),
        (400, "invalid_request"),
    ]
    assert all(response.headers["content-type"] == "application/json" for response in found)


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-Ip", "Forwarded"])
async def test_J_who_guesses_is_slowed_whatever_address_he_claims(token_server, header):
    """The address is that of the connection. A header that names another address does not change it."""
    wrong = {**token_server.whole, "client_secret": "wks_" + "x" * 43}
    async with serving(token_server.routes()) as server, client(server) as http:
        found = [
            await http.post(TOKEN, data=wrong, headers={header: f"192.0.2.{number}"}) for number in range(FREE + 2)
        ]
    assert [response.status_code for response in found] == [401] * (FREE) + [429] * 2
    assert int(found[-1].headers["retry-after"]) >= 1


async def test_the_client_address_is_that_of_the_connection(token_server):
    seen = []

    def respond(request):
        seen.append(request.address)
        return local_json(200, {})

    async with serving(dict.fromkeys(token_server.routes(), respond)) as server, client(server) as http:
        await http.get("/health", headers={"X-Forwarded-For": "192.0.2.1", "X-Real-Ip": "192.0.2.2"})
    assert seen == ["127.0.0.1"]


async def test_no_secret_and_no_token_is_logged(token_server, caplog):
    caplog.set_level("DEBUG")
    async with serving(token_server.routes()) as server, client(server) as http:
        granted = (await http.post(f"{TOKEN}?client_secret={token_server.secret}", data=token_server.whole)).json()
        await http.post(TOKEN, data=ALONE, auth=(token_server.id, token_server.secret))
        await http.post(
            TOKEN, content=json.dumps(token_server.whole)[:-1], headers={"content-type": "application/json"}
        )
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("wirekey"))
    assert "POST /api/v1/auth/token from 127.0.0.1: 200" in ours
    for secret in (
        token_server.secret,
        granted["access_token"],
        base64.b64encode(f"{token_server.id}:".encode()).decode()[:30],
    ):
        assert secret not in ours
