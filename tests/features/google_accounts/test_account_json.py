"""Accounts as JSON: Wirekey's own files, the login files of other programs, and token files of one account."""

import base64
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirekey.core.secret import Secret
from wirekey.features.google_accounts.account_json import AccountFormatError, decode_account, encode_account
from wirekey.features.google_accounts.accounts import AccountStatus, GoogleAccount

ANN = GoogleAccount(
    "ann",
    email="ann@example.com",
    access_token=Secret("ya29.canary-access"),
    refresh_token=Secret("1//canary-refresh"),
    scope="https://www.googleapis.com/auth/cloud-platform",
    expiry_date=1_800_000_000_000,
    project_id="my-project",
    project_set=True,
    created_at=1_700_000_000_000,
    updated_at=1_700_000_000_001,
    last_used=1_700_000_000_002,
)
NOW = 1_750_000_000.0


def decoded(**content):
    return decode_account(json.dumps(content).encode(), "ann")


def test_an_account_is_the_same_after_it_was_written():
    assert decode_account(encode_account(ANN), "ann") == ANN
    limited = replace(ANN, invalid="Verify at https://example.com", limited_until=1_700_000_000_003, limited_by="x")
    assert decode_account(encode_account(limited), "ann") == limited


def test_the_file_has_the_members_of_the_contract():
    members = "account_id email access_token refresh_token token_type scope expiry_date project_id created_at"
    content = json.loads(encode_account(ANN))
    assert set(content) >= {*members.split(), "updated_at", "last_used", "needs_login"}
    assert content["expiry_date"] == 1_800_000_000_000
    assert content["refresh_token"] == "1//canary-refresh"


def test_the_tokens_are_in_no_repr():
    assert "canary" not in repr(ANN)


def test_a_login_file_of_gemini_cli_is_read():
    claims = base64.urlsafe_b64encode(b'{"email": "bob@example.com"}').rstrip(b"=").decode()
    account = decoded(
        access_token="ya29.canary",
        refresh_token="1//canary",
        scope="openid https://www.googleapis.com/auth/cloud-platform",
        token_type="Bearer",
        id_token=f"e30.{claims}.c2ln",
        expiry_date=1_800_000_000_000,
    )
    assert account.access_token == Secret("ya29.canary")
    assert (account.email, account.expiry_date) == ("bob@example.com", 1_800_000_000_000)


def test_a_file_of_authorized_user_is_read():
    account = decoded(type="authorized_user", client_id="x", client_secret="y", refresh_token="1//canary")
    assert (account.access_token, account.refresh_token) == (None, Secret("1//canary"))


@pytest.mark.parametrize("end", ["expiry_date", "expiresAt", "expires_at", "expiryDate"], ids=lambda name: name)
@pytest.mark.parametrize("value", [1_800_000_000_000, 1_800_000_000, 1_800_000_000.0, "2027-01-15T08:00:00Z"])
def test_earlier_token_files_name_and_write_the_end_in_their_own_ways(end, value):
    account = decoded(accessToken="ya29.x", refreshToken="1//y", projectId="p", **{end: value})
    assert (account.expiry_date, account.project_id) == (1_800_000_000_000, "p")
    assert account.refresh_token == Secret("1//y")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b'{"access_token": "canary', "is not JSON"),
        (b"[]", "no JSON object"),
        (b"\xff\xfe", "is not JSON"),
        (b"{}", "neither an access_token nor a refresh_token"),
        (b'{"access_token": "", "refresh_token": null}', "neither an access_token nor a refresh_token"),
        (b'{"access_token": 5}', "access_token that is not a string"),
        (b'{"access_token": "canary\\n"}', "characters that no token has"),
        (b'{"access_token": "canary", "expiry_date": "soon"}', "expiry_date that is not a time"),
        (b'{"access_token": "canary", "expiry_date": true}', "not a number of milliseconds"),
        (b'{"access_token": "canary", "expiry_date": -5}', "not a number of milliseconds"),
        (b'{"access_token": "canary", "expiry_date": 1e300}', "not a number of milliseconds"),
        (b'{"type": "service_account", "private_key": "canary"}', "not the login of a person"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_is_no_login_is_refused_without_a_quote(content, message):
    with pytest.raises(AccountFormatError, match=message) as error:
        decode_account(content, "ann")
    assert "canary" not in str(error.value)


NAMES = ["access_token", "refresh_token", "expiry_date", "type", "id_token", "email", "scope", "needs_login"]
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.lists(st.none(), max_size=1)


@given(st.binary(max_size=40) | st.dictionaries(st.sampled_from(NAMES), VALUES).map(lambda x: json.dumps(x).encode()))
def test_any_file_is_an_account_or_a_format_error(data):
    try:
        account = decode_account(data, "ann")
    except AccountFormatError:
        return
    assert account.access_token or account.refresh_token
    assert decode_account(encode_account(account), "ann").access_token == account.access_token


@pytest.mark.parametrize(
    ("account", "status"),
    [
        (ANN, AccountStatus.VALID),
        (replace(ANN, expiry_date=1), AccountStatus.VALID),
        (replace(ANN, expiry_date=1, refresh_token=None), AccountStatus.EXPIRED),
        (replace(ANN, refresh_token=None), AccountStatus.VALID),
        (replace(ANN, needs_login=True), AccountStatus.NEEDS_LOGIN),
        (GoogleAccount("ann"), AccountStatus.NEEDS_LOGIN),
        (replace(ANN, limited_until=int(NOW * 1000) + 1), AccountStatus.COOLING_DOWN),
        (replace(ANN, limited_until=int(NOW * 1000) - 1), AccountStatus.VALID),
        (replace(ANN, invalid="Verify your account.", needs_login=True), AccountStatus.INVALID),
    ],
    ids=range(9),
)
def test_the_status_of_an_account(account, status):
    assert account.status(NOW) == status
