"""The stand-in for Google's logins refuses what Google refuses."""

import base64
import hashlib
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from wirekey_simulator.google_logins import (
    AUTHORIZE_PATH,
    REVOKE_PATH,
    TOKEN_PATH,
    USERINFO_PATH,
    GoogleLoginService,
)
from wirekey_simulator.plain_http import serving

VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
REDIRECT = "http://127.0.0.1:8085/oauth2callback"


@pytest.fixture
def google():
    return GoogleLoginService()


@pytest.fixture
def client(google):
    with serving(google) as url, httpx.Client(verify=False, base_url=url) as client:
        yield client


def query_of(google, **changes):
    usual = {
        "client_id": google.client_id,
        "redirect_uri": REDIRECT,
        "response_type": "code",
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "state": "canary-state",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "access_type": "offline",
        "prompt": "consent",
    }
    return {name: value for name, value in (usual | changes).items() if value is not None}


def code_for(google, client, **changes):
    back = client.get(AUTHORIZE_PATH, params=query_of(google, **changes)).headers["location"]
    assert back.startswith(f"{REDIRECT}?")
    fields = parse_qs(urlsplit(back).query)
    assert fields["state"] == ["canary-state"]
    return fields["code"][0]


def exchange(google, client, issued, **changes):
    usual = {
        "grant_type": "authorization_code",
        "code": issued,
        "redirect_uri": REDIRECT,
        "client_id": google.client_id,
        "client_secret": google.client_secret,
        "code_verifier": VERIFIER,
    }
    return client.post(TOKEN_PATH, data={name: value for name, value in (usual | changes).items() if value is not None})


def test_a_login_gives_tokens_and_the_email(google, client):
    response = exchange(google, client, code_for(google, client))
    assert response.status_code == 200
    tokens = response.json()
    assert set(tokens) == {"access_token", "refresh_token", "expires_in", "scope", "token_type"}
    headers = {"authorization": f"Bearer {tokens['access_token']}"}
    assert client.get(USERINFO_PATH, headers=headers).json()["email"] == "ann@example.com"
    assert client.get(USERINFO_PATH).status_code == 401


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"client_id": "other"}, "invalid_client"),
        ({"redirect_uri": "https://evil.example/"}, "redirect_uri_mismatch"),
        ({"redirect_uri": None}, "redirect_uri_mismatch"),
        ({"response_type": "token"}, "invalid_request"),
        ({"state": None}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": CHALLENGE + "="}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": "cloud-platform"}, "invalid_scope"),
    ],
    ids=range(10),
)
def test_the_page_refuses_a_wrong_request(google, client, changes, error):
    response = client.get(AUTHORIZE_PATH, params=query_of(google, **changes))
    assert response.status_code in (400, 401)
    assert response.json()["error"] == error


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_verifier": "w" * 43}, "invalid_grant"),
        ({"code_verifier": None}, "invalid_grant"),
        ({"code_verifier": VERIFIER[:42]}, "invalid_grant"),
        ({"redirect_uri": "http://localhost:8085/oauth2callback"}, "redirect_uri_mismatch"),
        ({"code": "4/other"}, "invalid_grant"),
        ({"client_secret": "other"}, "invalid_client"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
    ],
    ids=range(7),
)
def test_the_token_server_refuses_a_wrong_exchange(google, client, changes, error):
    response = exchange(google, client, code_for(google, client), **changes)
    assert response.status_code in (400, 401)
    assert response.json()["error"] == error


def test_a_code_works_once_even_if_the_first_exchange_was_wrong(google, client):
    code = code_for(google, client)
    assert exchange(google, client, code).status_code == 200
    assert exchange(google, client, code).json()["error"] == "invalid_grant"
    code = code_for(google, client)
    assert exchange(google, client, code, code_verifier="w" * 43).status_code == 400
    assert exchange(google, client, code).json()["error"] == "invalid_grant"


@pytest.mark.parametrize("missing", ["access_type", "prompt"])
def test_without_offline_access_and_consent_there_is_no_refresh_token(google, client, missing):
    tokens = exchange(google, client, code_for(google, client, **{missing: None})).json()
    assert "refresh_token" not in tokens


def test_a_refresh_replaces_the_refresh_token_and_a_revocation_ends_all(google, client):
    first = exchange(google, client, code_for(google, client)).json()
    form = {"grant_type": "refresh_token", "client_id": google.client_id, "client_secret": google.client_secret}
    second = client.post(TOKEN_PATH, data=form | {"refresh_token": first["refresh_token"]}).json()
    assert second["refresh_token"] != first["refresh_token"]
    again = client.post(TOKEN_PATH, data=form | {"refresh_token": first["refresh_token"]})
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert client.post(REVOKE_PATH, data={"token": second["refresh_token"]}).status_code == 200
    assert google.person_of(second["access_token"]) is None
    assert client.post(REVOKE_PATH, data={"token": second["refresh_token"]}).status_code == 400


def test_a_body_that_is_no_form_and_a_field_that_is_there_twice_are_refused(google, client):
    assert client.post(TOKEN_PATH, json={"grant_type": "refresh_token"}).json()["error"] == "invalid_request"
    body = "grant_type=refresh_token&grant_type=refresh_token"
    kind = {"content-type": "application/x-www-form-urlencoded"}
    assert client.post(TOKEN_PATH, content=body, headers=kind).json()["error"] == "invalid_request"
