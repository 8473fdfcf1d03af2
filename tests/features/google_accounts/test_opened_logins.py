"""The Google logins that a configuration opens: none by default, those that are enabled, kept by a reload."""

import asyncio
import json

import pytest

from tests.endpoints.test_endpoints import configured, wirekey
from wirekey.config import ConfigError
from wirekey.config.loading import load
from wirekey.core.credentials.google.tokens import NoTokenError
from wirekey.core.egress.upstream_proxy import no_proxy_for
from wirekey.features.google_accounts.opened_logins import account_files, google_logins
from wirekey.features.google_accounts.service import logins_of

CLIENT = {"id": "env:CLIENT_ID", "secret": "env:CLIENT_SECRET"}
ENVIRON = {"CLIENT_ID": "1234.apps.googleusercontent.com", "CLIENT_SECRET": "GOCSPX-canary"}
LOGIN = {"access_token": "ya29.canary", "refresh_token": "1//canary", "email": "ann@example.com"}


@pytest.fixture
def opened(tmp_path):
    """Open the logins of a configuration, in a home folder and a state folder of their own."""

    def opened(settings, previous=None, **environ):
        (tmp_path / "wirekey.yaml").write_text(json.dumps(settings))
        config = load(tmp_path / "wirekey.yaml", {"HOME": str(tmp_path), **ENVIRON, **environ})
        return google_logins(config, no_proxy_for, previous)

    return opened


def backend(name, **settings):
    return {"backends": {name: {"enabled": True, **settings}}, "google": {"oauth_client": CLIENT}}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"google": {"oauth_client": CLIENT}},
        {"backends": {name: {} for name in ("gemini-oauth-plan", "gemini-oauth-auto", "gemini-cli-cloud-project")}},
    ],
    ids=["nothing", "a client", "sections"],
)
def test_nothing_is_opened_unless_it_is_enabled(opened, settings, tmp_path):
    logins = opened(settings, TOKEN_STORE_PATH="tokens.json")
    assert (logins.accounts, logins.attempts, logins.plan, logins.free, logins.cloud_project) == (None,) * 5
    assert not (tmp_path / "state").exists()


def test_a_client_whose_secret_is_missing_is_reported(opened):
    with pytest.raises(ConfigError, match="CLIENT_SECRET is not set"):
        opened(backend("gemini-oauth-auto"), CLIENT_SECRET="")


async def test_the_login_file_in_the_home_folder_is_used(opened, tmp_path):
    (tmp_path / ".gemini").mkdir()
    (tmp_path / ".gemini/oauth_creds.json").write_text(json.dumps(LOGIN))
    logins = opened(backend("gemini-oauth-free"))
    assert (await logins.free.token()).access_token.reveal() == "ya29.canary"
    assert logins.plan is None


def test_a_login_file_that_is_missing_is_logged_with_the_fix(opened, caplog):
    logins = opened(backend("gemini-oauth-plan"))
    assert logins.plan
    assert "does not exist. Log in with the program" in caplog.text
    assert not [record for record in caplog.records if record.levelname == "ERROR"]  # mitmproxy would exit


@pytest.mark.parametrize("place", ["tokens.json", "absolute"])
def test_the_file_of_token_store_path_becomes_the_first_account(opened, tmp_path, place):
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps(LOGIN))
    logins = opened(backend("gemini-oauth-auto"), TOKEN_STORE_PATH=str(path) if place == "absolute" else place)
    logins.accounts.check()
    assert [one.email for one in logins.accounts.accounts()] == ["ann@example.com"]
    path.write_text(json.dumps(LOGIN | {"email": "bob@example.com"}))
    again = opened(backend("gemini-oauth-auto"), TOKEN_STORE_PATH=str(path))
    again.accounts.check()
    assert [one.email for one in again.accounts.accounts()] == ["ann@example.com"]


@pytest.mark.parametrize("content", [None, "{", "{}"], ids=["absent", "broken", "empty"])
def test_a_file_of_token_store_path_that_cannot_be_used_stops_nothing(opened, tmp_path, content, caplog):
    if content is not None:
        (tmp_path / "tokens.json").write_text(content)
    logins = opened(backend("gemini-oauth-auto"), TOKEN_STORE_PATH="tokens.json")
    logins.accounts.check()
    assert logins.accounts.accounts() == []
    assert ("tokens.json" in caplog.text) == (content is not None)


def test_the_accounts_lie_in_the_state_folder_or_where_the_setting_says(tmp_path):
    (tmp_path / "wirekey.yaml").write_text("{state: elsewhere}")
    assert account_files(load(tmp_path / "wirekey.yaml", {})).folder == tmp_path / "elsewhere/google-accounts"
    (tmp_path / "wirekey.yaml").write_text("{backends: {gemini-oauth-auto: {storage: kept}}}")
    assert account_files(load(tmp_path / "wirekey.yaml", {})).folder == tmp_path / "kept"


def test_a_reload_keeps_what_has_not_changed(opened, tmp_path):
    (tmp_path / "login.json").write_text(json.dumps(LOGIN))
    settings = backend("gemini-oauth-auto")
    settings["backends"]["gemini-oauth-plan"] = {"enabled": True, "login_file": "login.json"}
    first = opened(settings)
    second = opened(settings | {"log": {"level": "debug"}}, first)
    assert (second.accounts, second.attempts, second.plan) == (first.accounts, first.attempts, first.plan)
    settings["backends"]["gemini-oauth-auto"]["refresh_buffer_seconds"] = 60
    third = opened(settings, second, CLIENT_SECRET="GOCSPX-another")
    assert third.accounts is not second.accounts
    assert third.plan is not second.plan


def test_without_default_credentials_or_a_project_wirekey_does_not_start(opened, tmp_path, monkeypatch):
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    with pytest.raises(NoTokenError, match="There are no Google credentials"):
        opened(backend("gemini-cli-cloud-project"))
    file = tmp_path / "person.json"
    file.write_text(json.dumps({"type": "authorized_user", "client_id": "a", "client_secret": "b"} | LOGIN))
    found = {"GOOGLE_APPLICATION_CREDENTIALS": str(file)}
    with pytest.raises(NoTokenError, match="GOOGLE_CLOUD_PROJECT"):
        opened(backend("gemini-cli-cloud-project"), **found)
    assert opened(backend("gemini-cli-cloud-project"), **found, GOOGLE_CLOUD_PROJECT="p").cloud_project


async def test_a_running_wirekey_follows_the_login_file(tmp_path):
    """A change, here by rename, is in use without a restart and without a call."""
    path = tmp_path / "oauth_creds.json"
    path.write_text(json.dumps(LOGIN))
    backends = {"gemini-oauth-plan": {"enabled": True, "login_file": str(path)}}
    async with wirekey(tmp_path, configured(tmp_path, backends=backends)) as running:
        plan = logins_of(running.services.opened).plan
        assert (await plan.token()).access_token.reveal() == "ya29.canary"
        beside = tmp_path / "new.json"
        beside.write_text(json.dumps(LOGIN | {"access_token": "ya29.later"}))
        beside.rename(path)
        async with asyncio.timeout(60):
            while (await plan.token()).access_token.reveal() != "ya29.later":
                await asyncio.sleep(0.02)
