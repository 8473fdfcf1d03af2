"""Asks the operator's function about the keys of a request that nothing else identifies.

The key of a tunnel is kept until the tunnel ends, and checked again with its requests once the result is forgotten.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wirekey.config import ConfigError
from wirekey.core.calls.credential_kinds import PresentedKey
from wirekey.core.calls.imported_tokens import ImportedTokens
from wirekey.core.errors import Fault, Refusal
from wirekey.core.identity.client_tokens import is_wirekey_token
from wirekey.core.identity.imported_credentials import LONGEST, STRONG_BITS, VISIBLE, entropy_bits
from wirekey.core.identity.throttle import FREE, neighbourhood
from wirekey.core.secret import Secret
from wirekey.extension import ExtensionError
from wirekey.features.extensions.calls import extension_failed
from wirekey.features.extensions.checked_keys import LONGEST_USE, CheckedKey, CheckedKeys, owner_of
from wirekey.features.extensions.config import CheckSetting
from wirekey.features.extensions.running import KeyCheck

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mitmproxy.connection import Client

    from wirekey.config import Config
    from wirekey.core.calls.services import Services
    from wirekey.feature import FeatureValues

SHORTEST = 8
"""Characters of a key. A key is masked wherever a request quotes it, and a shorter one would be found by chance."""
MAX_KEYS = 4
"""Keys of one request that the function is asked about."""
MAX_PENDING = 256
"""Keys that the function is asked about at a time."""

PROXY, API_KEY = "proxy", "api_key"

TOO_MANY_KEYS = Refusal(401, "too_many_keys", f"The request has more than {MAX_KEYS} keys. Send one.")
BUSY = Refusal(
    503, "extension_busy", "Too many keys are being checked. Send the request again.", Fault.OPERATOR, retry_after=1
)


@dataclass(slots=True, eq=False)
class KeyChecker:
    """The operator's function with its recent results. For the event loop's thread."""

    check: KeyCheck
    results: CheckedKeys = field(default_factory=CheckedKeys)
    weak: Counter[str] = field(default_factory=Counter)
    """Address → its guessable keys that the function is being asked about."""
    _pending: dict[bytes, asyncio.Task[CheckedKey | None]] = field(default_factory=dict, repr=False)

    async def ask(self, key: PresentedKey, digest: bytes) -> CheckedKey | None:
        """Return what the function says of a key. It is asked once for calls at the same time. Raises Refusal."""
        if self.results.is_known(digest):
            return self.results.find(digest)
        pending = self._pending.get(digest)
        if pending is None:
            if len(self._pending) >= MAX_PENDING:
                raise BUSY
            pending = self._pending[digest] = asyncio.create_task(self._ask(key, digest))
            pending.add_done_callback(lambda task: self._forget(digest, task))
        try:
            return await asyncio.shield(pending)
        except ExtensionError as error:
            raise extension_failed("The key of this request could not be checked", error) from None

    async def _ask(self, key: PresentedKey, digest: bytes) -> CheckedKey | None:
        result = await self.check.result(key.key, key.place)
        try:
            owner = owner_of(result)
        except ValueError as error:
            raise ExtensionError(f"{self.check.name} {error}") from None
        checked = None if owner is None else CheckedKey(owner, time.time() + LONGEST_USE)
        self.results.remember(digest, checked)
        return checked

    def _forget(self, digest: bytes, task: asyncio.Task[CheckedKey | None]) -> None:
        self._pending.pop(digest, None)
        if not task.cancelled():
            task.exception()  # every caller may have gone


def presented_key(name: str | None, value: str, place: str) -> PresentedKey | None:
    """Return a value of a request as a key that the function may be asked about, or None if it cannot be one."""
    if not SHORTEST <= len(value) <= LONGEST or not VISIBLE.fullmatch(value) or is_wirekey_token(value):
        return None
    return PresentedKey(name, Secret(value), place)


def keys_to_check(
    services: Services, values: Iterable[str], named: Iterable[tuple[str | None, str]]
) -> list[PresentedKey]:
    """Return the keys among the values that a request presents.

    `values`: from the place of an API key. `named`: (agent name, token) from Proxy-Authorization.
    """
    agents = services.agents
    found = [presented_key(name, value, PROXY) for name, value in named]
    found += [presented_key(None, value, API_KEY) for value in values]
    keys = [key for key in found if key]
    if not agents.has_imported:
        return keys
    # A guessable imported token that has to wait is not one of the claims.
    return [key for key in keys if not agents.is_imported(agents.imported_digest(key.key.reveal()))]


async def check_keys(services: Services, connection: Client, keys: Sequence[PresentedKey]) -> ImportedTokens:
    """Ask the function about each key, and return those that it accepts. Raises Refusal if it fails.

    Refused keys count as guesses of the client's address, and keys with little entropy have to wait after some of them.
    """
    checker, guesses = services.settings.features.find(KeyChecker), services.guesses
    if checker is None:  # the setting was removed while the tunnel was open
        return ImportedTokens()
    address, wait, claims, values = neighbourhood(connection.peername[0]), 0, [], set()
    digests = [checker.results.digest(key.key, key.place) for key in keys]
    if len(keys) > MAX_KEYS:
        count_all(services, address, digests)
        raise TOO_MANY_KEYS
    for key, digest in zip(keys, digests, strict=True):
        text = key.key.reveal()
        is_weak = not guesses.was_accepted(connection, digest) and entropy_bits(text) < STRONG_BITS
        waiting = guesses.wait(address, time.monotonic()) if is_weak else 0
        if is_weak and not waiting and checker.weak[address] >= FREE:
            waiting = 1
        checked = None
        if not waiting:
            checker.weak[address] += is_weak
            try:
                checked = await checker.ask(key, digest)
            except Refusal:
                count_all(services, address, digests)
                raise
            finally:
                checker.weak[address] -= is_weak
                checker.weak += Counter()  # without those at 0
        if checked is None:
            guesses.fail(address, digest, time.monotonic())
            wait = max(wait, waiting)
        else:
            guesses.accept(connection, digest)
            claims.append((key.name, checked))
            values.add(text)
    return ImportedTokens(tuple(claims), frozenset(values), wait)


def count_all(services: Services, address: str, digests: Iterable[bytes]) -> None:
    """Count keys that were not checked as guesses, if one of them could have been a guess of an imported token."""
    if services.agents.has_guessable:
        for digest in digests:
            services.guesses.fail(address, digest, time.monotonic())


@dataclass(frozen=True, slots=True)
class KeyChecks:
    """Implements `wirekey.core.calls.credential_kinds.KeyIdentification` with the operator's function."""

    services: Services

    def may_check(self, connection: Client) -> bool:
        """Return whether there is a function to ask, and the connection is no tunnel with an agent of its own."""
        services = self.services
        return services.settings.features.find(KeyChecker) is not None and connection not in services.tunnel_agents

    def keys(self, values: Iterable[str], named: Iterable[tuple[str | None, str]]) -> list[PresentedKey]:
        """Return the keys among the values that a request presents."""
        return keys_to_check(self.services, values, named)

    async def check(self, connection: Client, keys: Sequence[PresentedKey]) -> ImportedTokens:
        """Ask the function about each key, and return those that it accepts. Raises Refusal if it fails."""
        return await check_keys(self.services, connection, keys)


def key_checker(config: Config, previous: FeatureValues) -> KeyChecker | None:
    """Return the checker of keys. It keeps its results if its function stays. Raises ConfigError."""
    named, sources = config.identity.part(CheckSetting).check, config._sources  # noqa: SLF001  # it was checked with the same folder
    if named is None:
        return None
    try:
        check = KeyCheck.load(named, sources.folder)
    except ExtensionError as error:
        raise ConfigError([sources.problem("identity.check", str(error))]) from None
    kept = previous.find(KeyChecker)
    return kept if kept and kept.check == check else KeyChecker(check)
