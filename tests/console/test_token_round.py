"""A program gets itself a token over HTTP, in each way that OAuth libraries know, and guessing does not help."""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.error
import urllib.request

import jwt
import pytest
import requests

from tests.console.conftest import PATIENCE, client, serving
from wirekey.identity.throttle import FREE

TOKEN, KEYS = "/api/v1/auth/token", "/.well-known/jwks.json"
ALONE = {"grant_type": "client_credentials"}


def by_form(url, office):
    """As requests-oauthlib's BackendApplicationClient does with include_client_id."""
    return requests.post(url, data=office.whole, timeout=PATIENCE)


def by_basic(url, office):
    """As requests-oauthlib, Authlib and most others do by default (client_secret_basic)."""
    return requests.post(url, data=ALONE, auth=(office.id, office.secret), timeout=PATIENCE)


def by_json(url, office):
    return requests.post(url, json=office.whole, timeout=PATIENCE)


def by_json_and_basic(url, office):
    return requests.post(url, json=ALONE, auth=(office.id, office.secret), timeout=PATIENCE)


def in_chunks(url, office):
    body = json.dumps(office.whole).encode()
    headers = {"content-type": "application/json"}
    return requests.post(url, data=iter([body[:10], body[10:]]), headers=headers, timeout=PATIENCE)


WAYS = [by_form, by_basic, by_json, by_json_and_basic, in_chunks]


@pytest.mark.parametrize("way", WAYS)
async def test_a_client_gets_a_token_that_the_published_keys_verify(office, way):
    async with serving(office.router()) as server:
        url = f"http://{server.address}"
        answer = await asyncio.to_thread(way, url + TOKEN, office)
        # PyJWT's own client of key sets, as a service that verifies these tokens has it.
        keys = jwt.PyJWKClient(url + KEYS, timeout=PATIENCE)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        granted = answer.json()
        assert granted.keys() == {"access_token", "token_type", "expires_in", "scope"}
        key = await asyncio.to_thread(keys.get_signing_key_from_jwt, granted["access_token"])
    claims = jwt.decode(granted["access_token"], key, algorithms=["EdDSA"], audience="wirekey", issuer="wirekey")
    assert (claims["sub"], claims["role"], claims["client_id"]) == ("alice", "ops", office.id)


async def test_the_standard_librarys_client_is_served_too(office):
    def ask(url):
        shown = base64.b64encode(f"{office.id}:{office.secret}".encode()).decode()
        headers = {"Authorization": f"Basic {shown}"}
        request = urllib.request.Request(url, b"grant_type=client_credentials", headers)  # adds the type of forms
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)

    async with serving(office.router()) as server:
        granted = await asyncio.to_thread(ask, f"http://{server.address}{TOKEN}")
    assert granted["token_type"] == "bearer"


async def test_errors_are_those_of_the_rfc(office):
    async with serving(office.router()) as server, client(server) as http:
        wrong = {**office.whole, "client_secret": "wks_" + "x" * 43}
        shown = await http.post(TOKEN, data=ALONE, auth=(office.id, "wrong"))
        found = [
            await http.post(TOKEN, data=wrong),
            await http.post(TOKEN, data={**office.whole, "grant_type": "password"}),
            await http.post(TOKEN, data={**office.whole, "scope": "everything"}),
            await http.post(TOKEN, content=b"{", headers={"content-type": "application/json"}),
        ]
    assert (shown.status_code, shown.headers["www-authenticate"][:5]) == (401, "Basic")
    assert [(answer.status_code, answer.json()["error"]) for answer in found] == [
        (401, "invalid_client"),
        (400, "unsupported_grant_type"),
        (400, "invalid_scope"),
        (400, "invalid_request"),
    ]
    assert all(answer.headers["content-type"] == "application/json" for answer in found)


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-Ip", "Forwarded"])
async def test_J_who_guesses_is_slowed_whatever_address_he_claims(office, header):
    """The address is that of the connection: a header that names another one is no way out."""
    wrong = {**office.whole, "client_secret": "wks_" + "x" * 43}
    async with serving(office.router()) as server, client(server) as http:
        found = [
            await http.post(TOKEN, data=wrong, headers={header: f"192.0.2.{number}"}) for number in range(FREE + 2)
        ]
    assert [answer.status_code for answer in found] == [401] * (FREE) + [429] * 2
    assert int(found[-1].headers["retry-after"]) >= 1


async def test_the_address_is_that_of_the_connection(office):
    seen = []

    def answer(request):
        seen.append(request.address)
        return office.router().respond(request)

    async with serving(answer) as server, client(server) as http:
        await http.get("/health", headers={"X-Forwarded-For": "192.0.2.1", "X-Real-Ip": "192.0.2.2"})
    assert seen == ["127.0.0.1"]


async def test_no_secret_and_no_token_is_logged(office, caplog):
    caplog.set_level("DEBUG")
    async with serving(office.router()) as server, client(server) as http:
        granted = (await http.post(f"{TOKEN}?client_secret={office.secret}", data=office.whole)).json()
        await http.post(TOKEN, data=ALONE, auth=(office.id, office.secret))
        await http.post(TOKEN, content=json.dumps(office.whole)[:-1], headers={"content-type": "application/json"})
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("wirekey"))
    assert "POST /api/v1/auth/token from 127.0.0.1: 200" in ours
    for secret in (office.secret, granted["access_token"], base64.b64encode(f"{office.id}:".encode()).decode()[:30]):
        assert secret not in ours
