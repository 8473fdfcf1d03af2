"""Application default credentials: a service account and a person, found as google-auth finds them."""

import asyncio
import json
import time
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from wirekey.core.credentials.google.default_credentials import CredentialSearch, DefaultCredentials
from wirekey.core.credentials.google.tokens import NoTokenError

ACCOUNT = "robot@my-project.iam.gserviceaccount.com"


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(autouse=True)
def _no_other_credentials(monkeypatch, tmp_path):
    """No credentials of the machine that runs the tests, and no metadata server."""
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")  # never used
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")


@pytest.fixture
def service_account(google, google_url, tmp_path, key):
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    google.service_accounts[ACCOUNT] = public
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "service-account.json"
    content = {
        "type": "service_account",
        "project_id": "project-of-the-file",
        "private_key_id": "canary-key-id",
        "private_key": private.decode(),
        "client_email": ACCOUNT,
        "token_uri": f"{google_url}/token",
    }
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def person(google, tmp_path):
    path = tmp_path / "authorized-user.json"
    content = {
        "type": "authorized_user",
        "client_id": google.client_id,
        "client_secret": google.client_secret,
        "refresh_token": google.log_in("ann@example.com")["refresh_token"],
        "quota_project_id": "quota-project",
    }
    path.write_text(json.dumps(content))
    return path


async def test_a_service_account_gets_a_token_with_its_project(google, service_account):
    credentials = DefaultCredentials(CredentialSearch(environ={"GOOGLE_APPLICATION_CREDENTIALS": str(service_account)}))
    token = await credentials.token()
    assert google.person_of(token.access_token.reveal()) == ACCOUNT
    assert (token.project_id, token.quota_project) == ("project-of-the-file", None)
    assert token.expires
    assert await credentials.token() is token
    assert len(google.grants) == 1


async def test_a_person_gets_a_token_at_the_configured_token_server(google, google_url, person):
    search = CredentialSearch(file=person, project_id="my-project", token_url=f"{google_url}/token")
    token = await DefaultCredentials(search, "cloud").token()
    assert google.person_of(token.access_token.reveal()) == "ann@example.com"
    assert (token.account_id, token.project_id, token.quota_project) == ("cloud", "my-project", "quota-project")


async def test_the_file_of_gcloud_is_used_without_the_variable(google, google_url, person, tmp_path):
    folder = tmp_path / "gcloud"
    folder.mkdir()
    person.rename(folder / "application_default_credentials.json")
    search = CredentialSearch(project_id="my-project", token_url=f"{google_url}/token")
    token = await DefaultCredentials(search).token()
    assert google.person_of(token.access_token.reveal()) == "ann@example.com"


@pytest.mark.parametrize(
    ("setting", "variable", "project"),
    [
        ("of-the-setting", "of-the-variable", "of-the-setting"),
        (None, "of-the-variable", "of-the-variable"),
        (None, "", "project-of-the-file"),
    ],
)
def test_the_project_is_that_of_the_setting_the_variable_or_the_credential(service_account, setting, variable, project):
    search = CredentialSearch(file=service_account, project_id=setting, environ={"GOOGLE_CLOUD_PROJECT": variable})
    assert DefaultCredentials(search).find() == project


def test_without_a_project_all_three_places_are_named(person):
    search = CredentialSearch(file=person, setting="backends.gemini-cli-cloud-project.project_id")
    with pytest.raises(NoTokenError) as error:
        DefaultCredentials(search).find()
    assert "backends.gemini-cli-cloud-project.project_id" in str(error.value)
    assert "GOOGLE_CLOUD_PROJECT" in str(error.value)
    assert "credentials that name a project" in str(error.value)


def test_without_credentials_the_error_says_what_to_do():
    with pytest.raises(NoTokenError, match="gcloud auth application-default login") as error:
        DefaultCredentials(CredentialSearch(project_id="p")).find()
    assert error.value.reason == "no_account"


@pytest.mark.parametrize(
    "content", ["", "{}", '{"type": "canary"}', '{"type": "service_account", "x": "canary"}', "[]"], ids=range(5)
)
def test_a_file_that_is_no_credential_is_reported_without_a_quote(tmp_path, content):
    path = tmp_path / "credentials.json"
    path.write_text(content)
    with pytest.raises(NoTokenError) as error:
        DefaultCredentials(CredentialSearch(file=path, project_id="p")).find()
    assert str(path) in str(error.value) or "cannot be used" in str(error.value)
    assert "canary" not in str(error.value)


async def test_a_token_server_that_fails_or_refuses_is_reported_and_asked_again_later(google, service_account, caplog):
    caplog.set_level("DEBUG")
    google.fail_with = 503
    credentials = DefaultCredentials(CredentialSearch(file=service_account))
    with pytest.raises(NoTokenError) as error:
        await credentials.token()
    assert error.value.reason == "unavailable"
    google.fail_with = 0
    google.service_accounts.clear()
    refused = DefaultCredentials(CredentialSearch(file=service_account))
    with pytest.raises(NoTokenError, match="service account and its key are enabled"):
        await refused.token()
    assert "PRIVATE KEY" not in caplog.text
    assert not [secret for secret in google.issued if secret in caplog.text]


async def test_the_event_loop_goes_on_while_the_token_server_is_slow(google, service_account):
    google.go_on.clear()
    waiting = asyncio.create_task(DefaultCredentials(CredentialSearch(file=service_account)).token())
    async with asyncio.timeout(60):
        while not google.grants:
            await asyncio.sleep(0.01)
    assert not waiting.done()
    google.go_on.set()
    assert (await waiting).access_token.reveal() in google.access_tokens


async def test_a_hundred_calls_at_the_end_of_a_token_share_one_refresh(google, service_account):
    credentials = DefaultCredentials(CredentialSearch(file=service_account))
    first = await credentials.token()
    credentials._cache.replace(replace(first, expires=time.time()))
    tokens = await asyncio.gather(*(credentials.token() for _ in range(100)))
    assert len(google.grants) == 2
    assert all(token is tokens[0] for token in tokens)
    assert tokens[0].access_token != first.access_token


async def test_a_rejected_token_is_replaced(google, service_account):
    credentials = DefaultCredentials(CredentialSearch(file=service_account))
    first = await credentials.token()
    credentials.rejected(first)
    assert (await credentials.token()).access_token != first.access_token


async def test_a_token_that_ends_soon_is_replaced_without_a_call(google, service_account):
    credentials = DefaultCredentials(CredentialSearch(file=service_account))
    credentials.keep_good()
    assert not google.grants  # nothing is looked up before the first call
    first = await credentials.token()
    credentials._cache.replace(replace(first, expires=time.time() + 60))
    credentials.keep_good()
    async with asyncio.timeout(60):
        while len(google.grants) < 2 or credentials._cache._refresh:
            await asyncio.sleep(0.01)
    assert (await credentials.token()).access_token != first.access_token
    assert len(google.grants) == 2


async def test_a_file_that_is_missing_is_named_to_each_call(tmp_path):
    search = CredentialSearch(file=tmp_path / "absent.json")
    credentials = DefaultCredentials(search, "cloud")
    assert (credentials.search, credentials.account_id) == (search, "cloud")
    for _ in range(2):
        with pytest.raises(NoTokenError, match=r"absent\.json is not a file of Google credentials") as error:
            await credentials.token()
        assert error.value.reason == "no_account"


async def test_a_person_whose_login_is_revoked_is_told_to_log_in_again(google, google_url, person):
    content = json.loads(person.read_text())
    person.write_text(json.dumps({**content, "refresh_token": "1//revoked-canary"}))
    search = CredentialSearch(file=person, project_id="p", token_url=f"{google_url}/token")
    with pytest.raises(NoTokenError, match="Log in again: gcloud auth application-default login") as error:
        await DefaultCredentials(search).token()
    assert "canary" not in str(error.value)
