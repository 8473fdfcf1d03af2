"""The further kinds of credentials by which features identify agents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wirekey.feature_registry import parts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wirekey.calls.services import Services
    from wirekey.feature import FeatureValues
    from wirekey.identity.proof import KeptCredential


@dataclass(frozen=True, slots=True)
class CredentialKind:
    """The part of a feature that shares what it keeps of its credentials with other processes.

    `restore` returns the kept credential of its `values`, with the services of features; None if it is unknown here.
    """

    name: str
    restore: Callable[[Any, FeatureValues], KeptCredential | None]


@dataclass(frozen=True, slots=True)
class TokenKind:
    """The part of a feature that identifies agents by tokens of a form of their own.

    `identify` returns what is kept of a token that fits. It raises Refusal if the token is not valid.
    """

    fits: Callable[[str], bool]
    identify: Callable[[Services, str], Awaitable[KeptCredential]]


def credential_kinds() -> dict[str, CredentialKind]:
    """Return the kinds of credentials that features add, by name."""
    return {kind.name: kind for kind in parts(CredentialKind)}
