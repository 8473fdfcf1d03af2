"""The further kinds of credentials by which features identify agents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from mitmproxy.connection import Client

    from wirekey.core.calls.imported_tokens import ImportedTokens
    from wirekey.core.calls.services import Services
    from wirekey.core.identity.proof import KeptCredential
    from wirekey.core.secret import Secret
    from wirekey.feature import FeatureValues


@dataclass(frozen=True, slots=True)
class TokenKind:
    """The part of a feature that identifies agents by tokens of a form of their own.

    `identify` gets the services of features, and returns what is kept of a token that fits. It raises Refusal if the
    token is not valid.
    """

    fits: Callable[[str], bool]
    identify: Callable[[FeatureValues, str], Awaitable[KeptCredential]]


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """A key of a request or a tunnel. `name`: the agent name beside it, if any. `place`: `proxy` or `api_key`."""

    name: str | None
    key: Secret
    place: str


class KeyIdentification(Protocol):
    """Identifies agents by keys that nothing else identifies."""

    def may_check(self, connection: Client) -> bool:
        """Return whether the keys of requests on a connection may be checked."""

    def keys(self, values: Iterable[str], named: Iterable[tuple[str | None, str]]) -> list[PresentedKey]:
        """Return the keys to check among the values that a request presents.

        `values`: from the place of an API key. `named`: (agent name, token) from Proxy-Authorization.
        """

    async def check(self, connection: Client, keys: Sequence[PresentedKey]) -> ImportedTokens:
        """Return the keys that are accepted. Raises Refusal if they cannot be checked."""


@dataclass(frozen=True, slots=True)
class AddedKeyIdentification:
    """The part of a feature that checks keys. Only one may be installed."""

    make: Callable[[Services], KeyIdentification]
