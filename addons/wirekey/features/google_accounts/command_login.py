"""The login of `wirekey accounts add` and `update`, and what else these commands ask of Google."""

from __future__ import annotations

import asyncio
import webbrowser
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from wirekey.core.errors import UserError
from wirekey.features.google_accounts.account_json import AccountFormatError, decode_account
from wirekey.features.google_accounts.accounts import is_account_id
from wirekey.features.google_accounts.login_attempts import LoginAttempt
from wirekey.features.google_accounts.login_file import FILE_NAME, LARGEST_FILE
from wirekey.features.google_accounts.logins import log_in
from wirekey.features.google_accounts.loopback_login import PATH, LoopbackServer
from wirekey.features.google_accounts.oauth import LoginSecrets, login_url, pasted_code
from wirekey.features.google_accounts.opened_logins import google_settings, project_lookup
from wirekey.features.google_accounts.stored_accounts import StoredAccounts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wirekey.config import Config
    from wirekey.core.egress.upstream_proxy import ProxyFor
    from wirekey.core.secret import Secret
    from wirekey.features.google_accounts.account_files import AccountFiles
    from wirekey.features.google_accounts.accounts import GoogleAccount
    from wirekey.features.google_accounts.logins import NewLogin

PASTED_PORT = 8085
"""Port in the redirect of a login that ends at another machine. Nothing listens there."""
BUFFER = 60.0


@dataclass(slots=True)
class Login:
    """One login on the command line. `port` 0: a free one. `timeout`: seconds for the person."""

    config: Config
    port: int
    timeout: int
    browser: bool
    validate: bool
    quiet: bool

    def run(self, before: GoogleAccount | None = None, *, force: bool = False) -> NewLogin:
        """Log in, and return the account, which is not stored yet. Raises UserError."""
        settings = google_settings(self.config, proxy_of(self.config))
        client, login = settings.needed_client(), LoginSecrets.new()

        def url(redirect_uri: str) -> str:
            return login_url(settings.authorize_url, client, settings.scopes, redirect_uri, login)

        if self.browser:
            code, redirect_uri = self._by_browser(login, url)
        else:
            redirect_uri = f"http://127.0.0.1:{self.port or PASTED_PORT}{PATH}"
            click.echo(f"Open this URL in a browser:\n\n{url(redirect_uri)}\n", err=self.quiet)
            click.echo("Afterwards the browser cannot show a page. Copy its address.", err=self.quiet)
            code = pasted_code(click.prompt("Address or code", err=self.quiet), login)
        lookup = project_lookup(self.config, proxy_of(self.config)) if self.validate else None
        attempt = LoginAttempt(login, redirect_uri, None)
        return asyncio.run(log_in(settings, attempt, code, lookup, before, allow_other_email=force))

    def _by_browser(self, login: LoginSecrets, url: Callable[[str], str]) -> tuple[Secret, str]:
        try:
            server = LoopbackServer(self.port)
        except OSError as error:
            raise UserError(f"Port {self.port} cannot be used: {error.strerror}. Choose another with --port.") from None
        with server:
            click.echo(f"Log in with the browser. If it does not open:\n\n{url(server.redirect_uri)}\n", err=self.quiet)
            webbrowser.open(url(server.redirect_uri))
            return server.code(login, self.timeout), server.redirect_uri


async def validate_project(config: Config, files: AccountFiles, account_id: str, project_id: str) -> None:
    """Check with Google that an account may use a project. Raises UserError."""
    lookup = project_lookup(config, proxy_of(config))
    accounts = StoredAccounts(files, google_settings(config, proxy_of(config)), BUFFER)
    accounts.check()
    token = await accounts.source(account_id).token()
    await lookup(replace(token, project_id=project_id))


def read_logins(path: Path) -> list[GoogleAccount]:
    """Return the accounts of a file or a folder. Accounts of a folder have the names of their files as ids.

    Raises UserError.
    """
    if not path.is_dir():
        return [read_login(path, "")]
    if (path / FILE_NAME).exists():
        return [read_login(path / FILE_NAME, "")]
    files = [one for one in sorted(path.glob("*.json")) if is_account_id(one.stem)]
    if not files:
        raise UserError(f"{path} has no account: no file ends with .json.")
    return [read_login(one, one.stem) for one in files]


def read_login(path: Path, account_id: str) -> GoogleAccount:
    """Return the account of a file. Raises UserError."""
    with path.open("rb") as file:
        data = file.read(LARGEST_FILE + 1)
    try:
        return decode_account(data, account_id)
    except AccountFormatError as error:
        raise UserError(f"{path} {error}.") from None


def proxy_of(config: Config) -> ProxyFor:
    """Return the function that chooses the proxy on the way out."""
    from wirekey.config import configured_proxy, environment_proxy

    proxy = (
        configured_proxy(config, config.upstream_proxy, "upstream_proxy")
        or environment_proxy(config, config.environ).proxy
    )
    return lambda host, port: proxy if proxy and proxy.is_used_for(host, port) else None
