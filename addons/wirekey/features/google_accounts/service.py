"""The logins and the backends of a running Wirekey: from the configuration to its routes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.core.routing.candidate import Candidate
from wirekey.features.google_accounts.account_limits import AccountLimits
from wirekey.features.google_accounts.auth_endpoints import AuthEndpoints
from wirekey.features.google_accounts.code_assist.configured import backends_from
from wirekey.features.google_accounts.code_assist.opening import open_backends
from wirekey.features.google_accounts.logins import GoogleLogins
from wirekey.features.google_accounts.opened_logins import google_logins, roots

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wirekey.config import Config
    from wirekey.core.endpoints.reply import LocalHandler
    from wirekey.feature import FeatureValues
    from wirekey.features.google_accounts.code_assist.backend import CodeAssist
    from wirekey.server.feature_parts import ServiceStart


@dataclass(frozen=True, slots=True)
class GoogleAccounts:
    """The logins and the enabled backends of one version of the configuration.

    `previous`: the backends until now. Those that stay keep what they know of their accounts.
    """

    logins: GoogleLogins
    backends: Mapping[str, CodeAssist]
    previous: Mapping[str, CodeAssist]

    @classmethod
    def prepare(cls, start: ServiceStart) -> GoogleAccounts:
        """Open the logins of the enabled backends. Blocks. Raises ConfigError and NoTokenError."""
        config, previous = start.config, start.previous.find(GoogleAccounts)
        logins = google_logins(config, start.proxy_for, previous.logins if previous else None)
        backends = backends_from(config)
        open_backends(backends, logins, config, roots(config), start.proxy_for)
        return cls(logins, backends, previous.backends if previous else {})

    def begin(self) -> None:
        """Continue with what the previous backends know of their accounts."""
        for name, backend in self.backends.items():
            if name in self.previous:
                backend.carry_over(self.previous[name])


def logins_of(opened: FeatureValues) -> GoogleLogins:
    """Return the logins of the configuration in force."""
    found = opened.find(GoogleAccounts)
    return found.logins if found else GoogleLogins()


def begin(opened: FeatureValues) -> None:
    """Share the limits of accounts with other processes, and read changed files of logins."""
    found, limits = opened.find(GoogleAccounts), opened.find(AccountLimits)
    if found and limits:
        limits.watch(found.backends)
    check(opened)


def check(opened: FeatureValues) -> None:
    """Read changed login files, and replace tokens that end soon. Calls that come first would find no account."""
    logins_of(opened).check()


async def end(opened: FeatureValues) -> None:
    """Write what is not written yet of the accounts."""
    await logins_of(opened).end()


def candidates(_: Config, opened: FeatureValues) -> Mapping[str, Candidate]:
    """Return the candidate of each enabled backend of Code Assist."""
    found = opened.find(GoogleAccounts)
    return {
        name: Candidate(
            "gemini",
            "account",
            backend.upstream,
            backend=name,
            accounts=backend,
            operations=backend.operations,
            is_billed=backend.settings.is_billed,
        )
        for name, backend in (found.backends.items() if found else ())
    }


def routes(opened: Callable[[], FeatureValues], port: Callable[[], int | None]) -> Mapping[str, LocalHandler]:
    """Return the endpoints of logins. `opened` returns the services of features, `port` that of the listener."""
    return AuthEndpoints(lambda: logins_of(opened()), port).routes()
