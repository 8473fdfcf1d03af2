"""Opens the backends of Code Assist with the logins that they use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.features.google_accounts.code_assist.configured import code_assist_client
from wirekey.features.google_accounts.code_assist.several_logins import SeveralLogins
from wirekey.features.google_accounts.code_assist.single_login import SingleLogin
from wirekey.features.google_accounts.config import GoogleBackends

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wirekey.config import Config
    from wirekey.core.egress.upstream_proxy import ProxyFor
    from wirekey.features.google_accounts.code_assist.backend import BackendAccounts, CodeAssist
    from wirekey.features.google_accounts.logins import GoogleLogins


def open_backends(
    backends: Mapping[str, CodeAssist], logins: GoogleLogins, config: Config, ca_file: Path | None, proxy_for: ProxyFor
) -> None:
    """Set the accounts of each backend. `ca_file`: all trusted roots; None: the public ones."""
    client = code_assist_client(config, ca_file, proxy_for)
    for name, backend in backends.items():
        if accounts := accounts_of(name, logins, config):
            backend.open(accounts, client)


def accounts_of(name: str, logins: GoogleLogins, config: Config) -> BackendAccounts | None:
    """Return the accounts of a backend, or None if its login was not opened."""
    if name == "gemini-oauth-auto":
        chosen = config.backends.part(GoogleBackends).gemini_oauth_auto.accounts
        return SeveralLogins(logins.accounts, None if chosen == "all" else chosen) if logins.accounts else None
    single = {
        "gemini-oauth-plan": logins.plan,
        "gemini-oauth-free": logins.free,
        "gemini-cli-cloud-project": logins.cloud_project,
    }
    source = single.get(name)
    return SingleLogin(source) if source else None
