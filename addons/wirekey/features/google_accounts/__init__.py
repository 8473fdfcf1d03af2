"""Google logins and accounts, and Code Assist, which they pay for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.feature import Feature

if TYPE_CHECKING:
    from wirekey.core.calls.services import Services
    from wirekey.providers.protocol import Provider


def providers() -> dict[str, Provider]:
    """Return the provider that this feature adds."""
    from wirekey.providers.code_assist import CodeAssistApi

    return {"code_assist": CodeAssistApi()}


def parts() -> tuple[object, ...]:
    """Return what this feature adds to the core."""
    from wirekey.config.code_assist import CodeAssistSetting
    from wirekey.config.feature_settings import AddedSettings
    from wirekey.config.terms import TermsOfUse
    from wirekey.core.calls.code_assist import CodeAssistSteps
    from wirekey.core.google.code_assist.configured import terms
    from wirekey.server.feature_parts import EventLoopPart, RegularCheck

    return (
        AddedSettings({"providers": CodeAssistSetting}),
        CodeAssistSteps(),
        TermsOfUse(terms),
        RegularCheck(check),
        EventLoopPart(check, end),
    )


def check(services: Services) -> None:
    """Read changed login files, and replace tokens that end soon. Calls that come first would find no account."""
    services.google_logins.check()


async def end(services: Services) -> None:
    """Write what is not written yet of the accounts."""
    await services.google_logins.end()


FEATURE = Feature("google_accounts", parts, providers=providers)
