"""Google logins and accounts, and Code Assist, which they pay for."""

from __future__ import annotations

from wirekey.feature import Feature


def parts() -> tuple[object, ...]:
    """Return what this feature adds to the core."""
    from wirekey.calls.code_assist import CodeAssistSteps
    from wirekey.config.terms import TermsOfUse
    from wirekey.google.code_assist.configured import terms

    return (CodeAssistSteps(), TermsOfUse(terms))


FEATURE = Feature("google_accounts", parts)
