"""The values of which the description of a provider consists. Each says one thing.

An attribute without a default has to be given, also where the provider has none: then it is empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class ProviderHosts:
    """The hosts of a provider. In `elsewhere` and `if_configured`, a name may have `*` for any characters."""

    own: str
    """The host that is always decrypted; "" if it has one for each region or location."""
    elsewhere: Mapping[str, str]
    """Hosts that are never decrypted, and take the provider's key or a login of its users → the service there."""
    if_configured: Mapping[str, str] = MappingProxyType({})
    """Hosts that are decrypted if the configuration has the provider → the service there."""
    shared: tuple[str, ...] = ()
    """Further hosts that are decrypted then, where other services are, too."""


@dataclass(frozen=True, slots=True)
class ProviderHeaders:
    """The headers that only a provider and its SDKs have, in lower case."""

    account: tuple[str, ...]
    """Those with the account or the quota that pays. The operator decides on it, so they are not forwarded."""
    shown: tuple[str, ...]
    """Those whose values a flow may show: versions, limits and numbers, none of them a capability."""
    shown_families: tuple[str, ...] = ()
    """Beginnings of the names of further ones."""
    limits: str = "x-ratelimit-{value}-{counted}"
    """Those of what is left of a limit: `value` is limit, remaining or reset, `counted` is requests or tokens."""
    resets_at: bool = False
    """Whether such a header has the moment at which the limit is full again, and not the time until then."""


NO_HEADERS = ProviderHeaders(account=(), shown=())


@dataclass(frozen=True, slots=True)
class ProviderVariables:
    """The environment variables of programs that call a provider, and of Wirekey."""

    usual: tuple[str, ...]
    """Those from which Wirekey itself takes a key if the configuration has none, in order."""
    keys: tuple[str, ...]
    """Those from which programs read a key. They are set to the token of the agent."""
    own: tuple[str, ...]
    """Those from which programs read a key or a login of their own, which `key_source: passthrough` leaves there."""
    pointers: tuple[str, ...]
    """Those that tell an SDK where to find a credential. Their values are not secrets."""
    base_urls: Mapping[str, str]
    """Those with a base URL → the path of the gateway in it."""
    settings: tuple[str, ...] = ()
    """Those with settings of one program, among them a base URL of the provider."""


NO_VARIABLES = ProviderVariables(usual=(), keys=(), own=(), pointers=(), base_urls=MappingProxyType({}))
"""The variables of a provider that programs do not find by variables."""
