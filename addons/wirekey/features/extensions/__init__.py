"""The operator's own functions and classes: the check of keys."""

from __future__ import annotations

from wirekey.feature import Feature


def parts() -> tuple[object, ...]:
    """Return what extensions add to the core."""
    from wirekey.calls.credential_kinds import CredentialKind
    from wirekey.identity.checked_keys import CHECKED_KEY, restored_key

    return (CredentialKind(CHECKED_KEY, restored_key),)


FEATURE = Feature("extensions", parts)
