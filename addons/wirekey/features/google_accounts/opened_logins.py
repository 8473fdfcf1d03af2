"""Opens the Google logins of a configuration."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wirekey.config.problems import ConfigError, Problem
from wirekey.core.credentials.google.addresses import google_url
from wirekey.core.credentials.google.default_credentials import (
    USUAL_TOKEN_URL,
    CredentialSearch,
    DefaultCredentials,
)
from wirekey.core.egress.upstream_proxy import no_proxy_for
from wirekey.features.google_accounts.account_files import AccountError, AccountFiles, now_in_milliseconds
from wirekey.features.google_accounts.account_json import AccountFormatError, decode_account
from wirekey.features.google_accounts.code_assist.configured import code_assist_client
from wirekey.features.google_accounts.code_assist.projects import ProjectError
from wirekey.features.google_accounts.config import GoogleBackends
from wirekey.features.google_accounts.login_attempts import LoginAttempts
from wirekey.features.google_accounts.login_config import GoogleSetting
from wirekey.features.google_accounts.login_file import LoginFileError, LoginFileTokens, find_login_file
from wirekey.features.google_accounts.logins import GoogleLogins
from wirekey.features.google_accounts.oauth import GoogleOAuthClient
from wirekey.features.google_accounts.stored_accounts import StoredAccounts
from wirekey.features.google_accounts.token_server import GoogleSettings
from wirekey.server.upstream_roots import FILE as ROOTS_FILE

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.core.credentials.google.tokens import UsableToken
    from wirekey.core.egress.upstream_proxy import ProxyFor
    from wirekey.features.google_accounts.account_tokens import ProjectLookup
    from wirekey.features.google_accounts.config import LoginFileBackendConfig

logger = logging.getLogger(__name__)

AUTHORIZE_URL = "https://accounts.google.com/o/oauth2/v2/auth"
REVOKE_URL = "https://oauth2.googleapis.com/revoke"
USERINFO_URL = "https://www.googleapis.com/oauth2/v2/userinfo"
TOKEN_FILE_VARIABLE = "TOKEN_STORE_PATH"  # noqa: S105  # the name of a variable
CLOUD_PROJECT = "gemini-cli-cloud-project"


def google_logins(config: Config, proxy_for: ProxyFor, previous: GoogleLogins | None = None) -> GoogleLogins:
    """Return the logins of the backends that a configuration enables. Reads files, and blocks.

    The parts of `previous` that are configured in the same way stay in use. Raises ConfigError if a secret cannot be
    read, and NoTokenError if there are no default credentials for `gemini-cli-cloud-project`.
    """
    backends, was = config.backends.part(GoogleBackends), previous or GoogleLogins()
    logins = GoogleLogins(lookup=project_lookup(config, proxy_for))
    if config.part(GoogleSetting).google.oauth_client or backends.gemini_oauth_auto.enabled:
        logins.settings = google_settings(config, proxy_for)
    settings = logins.settings or google_settings(config, proxy_for)
    if backends.gemini_oauth_auto.enabled:
        files, buffer = account_files(config), float(backends.gemini_oauth_auto.refresh_buffer_seconds)
        if was.accounts and was.settings == settings and was.accounts.is_of(files, buffer):
            logins.accounts, logins.attempts = was.accounts, was.attempts
        else:
            import_token_file(config, files)
            logins.accounts = StoredAccounts(files, settings, buffer)
            logins.attempts = LoginAttempts(files.folder / "logins")
    logins.plan = login_file_tokens(config, backends.gemini_oauth_plan, settings, was.plan)
    logins.free = login_file_tokens(config, backends.gemini_oauth_free, settings, was.free)
    if backends.gemini_cli_cloud_project.enabled:
        search = credential_search(config, proxy_for, backends.gemini_cli_cloud_project.project_id)
        if was.cloud_project and was.cloud_project.search == search:
            logins.cloud_project = was.cloud_project
        else:
            logins.cloud_project = DefaultCredentials(search, CLOUD_PROJECT)
            logins.cloud_project.find()
    return logins


def google_settings(config: Config, proxy_for: ProxyFor = no_proxy_for) -> GoogleSettings:
    """Return the settings of logins, with the OAuth client read. Raises ConfigError."""
    google = config.part(GoogleSetting).google
    client = None
    if google.oauth_client:
        found = config.resolve(google.oauth_client.id, "google.oauth_client.id")
        secret = None
        if google.oauth_client.secret:
            secret = config.resolve(google.oauth_client.secret, "google.oauth_client.secret")
        if problems := [one for one in (found, secret) if isinstance(one, Problem)]:
            raise ConfigError(problems)
        assert not isinstance(found, Problem)
        assert not isinstance(secret, Problem)
        client = GoogleOAuthClient(found.reveal(), secret)
    return GoogleSettings(
        client,
        google.scope_urls,
        google_url(AUTHORIZE_URL, config.environ),
        google_url(USUAL_TOKEN_URL, config.environ),
        google_url(REVOKE_URL, config.environ),
        google_url(USERINFO_URL, config.environ),
        roots(config),
        proxy_for,
    )


def roots(config: Config) -> Path | None:
    """Return the file of trusted roots: that of a running Wirekey, else the configured one, else None."""
    running = config.state / ROOTS_FILE
    return running if config.upstream_ca_file and running.exists() else config.upstream_ca_file


def account_files(config: Config) -> AccountFiles:
    """Return the folder of accounts."""
    return AccountFiles(
        config.backends.part(GoogleBackends).gemini_oauth_auto.storage or config.state / "google-accounts"
    )


def credential_search(
    config: Config, proxy_for: ProxyFor, project_id: str | None, setting: str = f"backends.{CLOUD_PROJECT}.project_id"
) -> CredentialSearch:
    """Return where application default credentials are looked up. `setting`: the setting of the project."""
    return CredentialSearch(
        project_id=project_id,
        setting=setting,
        token_url=google_url(USUAL_TOKEN_URL, config.environ),
        ca_file=roots(config),
        environ=config.environ,
        proxy_for=proxy_for,
    )


def login_file_tokens(
    config: Config, backend: LoginFileBackendConfig, settings: GoogleSettings, previous: LoginFileTokens | None
) -> LoginFileTokens | None:
    """Return the tokens of a login file, or None if its backend is not enabled. Logs what is wrong with the file."""
    if not backend.enabled:
        return None
    path = find_login_file(backend.login_file, Path(config.environ.get("HOME") or Path.home()))
    if previous and previous.is_of(path, settings, backend.refresh_command):
        return previous
    tokens = LoginFileTokens(path, settings, backend.refresh_command)
    try:
        tokens.load()
    except LoginFileError as error:
        # Not an error, as mitmproxy would then exit.
        logger.warning("%s Calls to this backend fail until then.", error)
    return tokens


def import_token_file(config: Config, files: AccountFiles) -> None:
    """Store the account of the file that TOKEN_STORE_PATH names, if no account is stored yet."""
    name = config.environ.get(TOKEN_FILE_VARIABLE, "").strip()
    if not name or files.versions():
        return
    path = config.folder / Path(name).expanduser()
    try:
        account = decode_account(path.read_bytes(), "account")
        now = now_in_milliseconds()
        files.add(replace(account, account_id=files.free_id(account.email), created_at=now, updated_at=now))
    except FileNotFoundError:
        return
    except OSError as error:
        logger.warning("%s=%s cannot be read: %s", TOKEN_FILE_VARIABLE, path, error.strerror)
    except (AccountFormatError, AccountError) as error:
        logger.warning("%s: %s %s", TOKEN_FILE_VARIABLE, path, error)


def project_lookup(config: Config, proxy_for: ProxyFor = no_proxy_for) -> ProjectLookup:
    """Return the function that looks up the project of an account at Code Assist, or has one made."""
    client = code_assist_client(config, roots(config), proxy_for)

    async def look_up(token: UsableToken) -> str:
        found = await client.find(token, token.project_id, free=False)
        if found.project is None:
            raise ProjectError("Google has no project for this account. Set one with `accounts set-project-id`.")
        return found.project

    return look_up
