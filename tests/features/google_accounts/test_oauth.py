"""OAuth by authorization code with PKCE: what is sent to the page, and what the token server's responses mean."""

import base64
import contextlib
import hashlib
import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirekey.core.secret import Secret
from wirekey.features.google_accounts.oauth import (
    GoogleOAuthClient,
    LoginSecrets,
    OAuthError,
    challenge_of,
    exchange_form,
    issued_tokens,
    login_url,
    pasted_code,
    refresh_form,
)

CLIENT = GoogleOAuthClient("1234.apps.googleusercontent.com", Secret("GOCSPX-canary"))
REDIRECT = "http://127.0.0.1:8085/oauth2callback"
LOGIN = LoginSecrets(Secret("v" * 43), Secret("s" * 43))


def test_the_challenge_is_that_of_the_example_in_rfc_7636():
    """RFC 7636, appendix B."""
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert challenge_of(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_each_login_has_its_own_verifier_and_state():
    one, other = LoginSecrets.new(), LoginSecrets.new()
    for login in (one, other):
        assert re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", login.verifier.reveal())
        digest = hashlib.sha256(login.verifier.reveal().encode()).digest()
        assert base64.urlsafe_b64decode(login.challenge + "=") == digest
        assert len(base64.urlsafe_b64decode(login.state.reveal() + "=")) == 32
        assert login.is_state(login.state.reveal())
    assert one.verifier != other.verifier
    assert not one.is_state(other.state.reveal())
    assert not one.is_state("")
    assert not one.is_state("ä")


def test_the_secrets_of_a_login_are_in_no_repr():
    login = LoginSecrets.new()
    assert login.verifier.reveal() not in repr(login)
    assert login.state.reveal() not in repr(login)


def test_the_page_gets_the_challenge_and_asks_for_a_refresh_token():
    url = login_url("https://accounts.google.com/o/oauth2/v2/auth", CLIENT, ("scope/a", "scope/b"), REDIRECT, LOGIN)
    assert url.startswith("https://accounts.google.com/o/oauth2/v2/auth?")
    assert parse_qs(urlsplit(url).query) == {
        "client_id": [CLIENT.id],
        "redirect_uri": [REDIRECT],
        "response_type": ["code"],
        "scope": ["scope/a scope/b"],
        "state": [LOGIN.state.reveal()],
        "code_challenge": [LOGIN.challenge],
        "code_challenge_method": ["S256"],
        "access_type": ["offline"],
        "prompt": ["consent"],
    }
    assert LOGIN.verifier.reveal() not in url


def test_the_forms_have_the_members_of_the_contract():
    assert exchange_form(CLIENT, Secret("4/code"), REDIRECT, LOGIN.verifier) == {
        "grant_type": "authorization_code",
        "code": "4/code",
        "redirect_uri": REDIRECT,
        "client_id": CLIENT.id,
        "client_secret": "GOCSPX-canary",
        "code_verifier": LOGIN.verifier.reveal(),
    }
    assert refresh_form(GoogleOAuthClient("id"), Secret("1//r")) == {
        "client_id": "id",
        "grant_type": "refresh_token",
        "refresh_token": "1//r",
    }


def test_a_response_with_tokens_is_read():
    body = {"access_token": "ya29.canary", "expires_in": 3599, "refresh_token": "1//canary", "scope": "a b"}
    issued = issued_tokens(200, json.dumps(body).encode(), 1000.0)
    assert issued.access_token == Secret("ya29.canary")
    assert issued.refresh_token == Secret("1//canary")
    assert (issued.expiry_date, issued.scope) == (4599_000, "a b")
    assert "canary" not in repr(issued)


@pytest.mark.parametrize("lifetime", [None, 0, -1, True, "3600", 1e300, []])
def test_a_lifetime_that_is_no_number_of_seconds_is_unknown(lifetime):
    body = json.dumps({"access_token": "ya29.x", "expires_in": lifetime}).encode()
    assert issued_tokens(200, body, 1000.0).expiry_date is None


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, b'{"error": "invalid_grant", "error_description": "canary"}', "invalid_grant"),
        (401, b'{"error": "invalid_client"}', "invalid_client"),
        (400, b'{"error": {"code": 400}}', "unavailable"),
        (400, b'{"error": "canary in a sentence"}', "unavailable"),
        (400, b"<html>", "unavailable"),
        (429, b'{"error": "rate_limit_exceeded"}', "unavailable"),
        (503, b'{"error": "invalid_grant"}', "unavailable"),
        (200, b"{}", "unavailable"),
        (200, b'{"access_token": ""}', "unavailable"),
        (200, b'{"access_token": "canary\\n"}', "unavailable"),
        (200, b"[" * 100_000, "unavailable"),
        (302, b"", "unavailable"),
    ],
)
def test_a_response_without_tokens_is_an_error_that_quotes_nothing(status, body, code):
    with pytest.raises(OAuthError) as error:
        issued_tokens(status, body, 0.0)
    assert error.value.code == code
    assert "canary" not in str(error.value)


@given(
    st.integers(100, 599),
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(st.sampled_from(["access_token", "expires_in", "refresh_token", "error", "x"]), inner)
        ),
    ).map(lambda value: json.dumps(value).encode()),
)
def test_any_response_is_tokens_or_an_oauth_error(status, body):
    with contextlib.suppress(OAuthError):
        assert issued_tokens(status, body, 1000.0).access_token.reveal()


STATE = LOGIN.state.reveal()


@pytest.mark.parametrize(
    "text",
    [
        "4/0canary",
        " 4/0canary\n",
        f"{REDIRECT}?state={STATE}&code=4%2F0canary&scope=a",
        f"state={STATE}&code=4/0canary",
        f"?code=4/0canary&state={STATE}",
    ],
)
def test_a_pasted_code_or_address_is_accepted(text):
    assert pasted_code(text, LOGIN) == Secret("4/0canary")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "no_code"),
        ("  ", "no_code"),
        (f"{REDIRECT}?state={STATE}", "no_code"),
        (f"{REDIRECT}?state=other&code=4/0canary", "wrong_state"),
        (f"{REDIRECT}?code=4/0canary", "wrong_state"),
        (f"{REDIRECT}?state={STATE}&state={STATE}&code=4/0canary", "wrong_state"),
        (f"{REDIRECT}?error=access_denied&state={STATE}", "access_denied"),
        (f"{REDIRECT}?error=canary+words&state={STATE}", "access_denied"),
        (REDIRECT, "wrong_state"),
    ],
)
def test_a_pasted_text_without_the_code_of_this_login_is_refused(text, code):
    with pytest.raises(OAuthError) as error:
        pasted_code(text, LOGIN)
    assert error.value.code == code
    assert "canary" not in str(error.value)
