"""Google logins and accounts, and Code Assist, which they pay for.

`opened_logins` opens the logins that the configuration enables: accounts that log in here (`stored_accounts`), and
files of other programs (`login_file`). `auth_endpoints` and `command` log people in. `code_assist` has the backends,
`steps` their part in each call. `service` follows the configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.feature import AddedCommand, Feature, Later

if TYPE_CHECKING:
    from wirekey.providers.protocol import Provider


def providers() -> dict[str, Provider]:
    """Return the provider that this feature adds."""
    from wirekey.features.google_accounts.provider import CODE_ASSIST

    return {"code_assist": CODE_ASSIST}


def parts() -> tuple[object, ...]:
    """Return what Google accounts add to the core."""
    from wirekey.config.feature_settings import TOP, AddedSettings
    from wirekey.config.terms import TermsOfUse
    from wirekey.features.google_accounts.account_limits import AccountLimits
    from wirekey.features.google_accounts.config import GoogleBackends
    from wirekey.features.google_accounts.login_config import GoogleSetting
    from wirekey.features.google_accounts.provider_config import CodeAssistSetting
    from wirekey.features.google_accounts.steps import CodeAssistSteps
    from wirekey.server.feature_parts import (
        AddedBackends,
        AddedEndpoints,
        EventLoopPart,
        OpenedService,
        RegularCheck,
        ReloadedService,
    )

    service = f"{__name__}.service"
    return (
        AddedSettings({TOP: GoogleSetting, "providers": CodeAssistSetting, "backends": GoogleBackends}),
        TermsOfUse(Later(f"{__name__}.code_assist.configured", "terms")),
        OpenedService(lambda _, services: AccountLimits(services.sharing)),
        ReloadedService(Later(service, "GoogleAccounts.prepare")),
        AddedBackends(Later(service, "candidates")),
        EventLoopPart(Later(service, "begin"), Later(service, "end")),
        RegularCheck(Later(service, "check")),
        AddedEndpoints(Later(service, "routes")),
        CodeAssistSteps(),
    )


HELP = "Log in to Google, and list, change and remove accounts."
FEATURE = Feature("google_accounts", parts, (AddedCommand("accounts", HELP, f"{__name__}.command"),), providers)
