"""The keys that a function of the operator has accepted or refused. Pure.

Results are found by a hash of the key, made with a random key of this process. No key is kept here.
"""

from __future__ import annotations

import hmac
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from wirekey.core.call import Agent
from wirekey.core.identity.external_agents import AGENT_ID, LABEL
from wirekey.core.labels import checked_pairs
from wirekey.core.permissions import normalized

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.core.identity.agents import AgentStore
    from wirekey.core.secret import Secret
    from wirekey.feature import FeatureValues

MAX_REMEMBERED = 10_000
"""Results kept at a time. Beyond this, the oldest is forgotten."""
ACCEPTED_FOR = 30.0
"""Seconds for which a key that was accepted is not asked about again."""
REFUSED_FOR = 5.0
"""The same for a key that was refused. It is shorter, since a new key may come into effect at any time."""
LONGEST_USE = 3600.0
"""Seconds for which an accepted key identifies what it began, such as an upload whose later requests have no key."""

CHECKED_KEY = "checked_key"
"""The kind of credential."""

type Owner = str | Agent
"""The name of an agent that was added to Wirekey, or an agent that only the function knows."""


@dataclass(frozen=True, slots=True)
class CheckedKey:
    """Identifies a key that was accepted, without its secret. `ends`: Unix seconds."""

    kind: ClassVar[str] = CHECKED_KEY
    owner: Owner
    ends: float

    def find_agent(self, agents: AgentStore, now: float) -> Agent | None:
        """Return the agent of the key, or None if it is unknown or revoked, or the key was accepted too long ago.

        An agent that only the function knows must not have the name of one that was ever added to Wirekey.
        """
        if self.ends <= now:
            return None
        if isinstance(self.owner, str):
            return agents.find_name(self.owner)
        return None if agents.has(self.owner.id) else self.owner

    def values(self) -> Any:
        """Return it as JSON values, for other processes."""
        return [self.owner, self.ends]


def restored_key(values: Any, _: FeatureValues) -> CheckedKey:
    """Return a key of its JSON values."""
    return CheckedKey(*msgspec.convert(values, tuple[Owner, float]))


def owner_of(result: object) -> Owner | None:
    """Return what a function returned as the owner of a key. Raises ValueError, without the value, if it is invalid."""
    if result is None:
        return None
    if isinstance(result, str):
        if not AGENT_ID.fullmatch(result):
            raise ValueError("returned a text that cannot be the name of an agent")
        return result
    if not isinstance(result, Agent):
        raise ValueError("returned neither the name of an agent, nor an Agent, nor None")  # noqa: TRY004  # one kind
    name: object = result.id
    if not isinstance(name, str) or not AGENT_ID.fullmatch(name):
        raise ValueError("returned an Agent whose id is not 1 to 255 visible ASCII characters")
    words: tuple[object, ...] = (result.role, result.type)
    if any(word is not None and not (isinstance(word, str) and LABEL.fullmatch(word)) for word in words):
        raise ValueError("returned an Agent whose role or type is not one word of at most 64 characters")
    permissions: object = result.permissions
    if not isinstance(permissions, list | tuple) or not all(isinstance(each, str) for each in permissions):
        raise ValueError("returned an Agent whose permissions are not a list of texts")
    try:
        kept = normalized(permissions)
    except ValueError:
        raise ValueError("returned an Agent with an invalid permission, or with too many") from None
    pairs: Any = result.labels
    try:
        labels = checked_pairs(dict(pairs))
    except (ValueError, TypeError):
        raise ValueError("returned an Agent with invalid labels, or with too many") from None
    return Agent(name, result.role, result.type, kept, strict=bool(result.strict), labels=labels)


@dataclass(slots=True)
class CheckedKeys:
    """The results of one function. `clock`: monotonic seconds."""

    clock: Callable[[], float] = time.monotonic
    most: int = MAX_REMEMBERED
    _hash_key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    _results: dict[bytes, tuple[CheckedKey | None, float]] = field(default_factory=dict, repr=False)

    def digest(self, key: Secret, place: str) -> bytes:
        """Return the hash under which the result for a key in a place is kept."""
        return hmac.digest(self._hash_key, f"{place}\n{key.reveal()}".encode(), "sha256")

    def is_known(self, digest: bytes) -> bool:
        """Return whether the result for a key is still remembered."""
        found = self._results.get(digest)
        if found is not None and found[1] <= self.clock():
            del self._results[digest]
            found = None
        return found is not None

    def find(self, digest: bytes) -> CheckedKey | None:
        """Return the remembered result. It must be known. None: the key was refused."""
        return self._results[digest][0]

    def remember(self, digest: bytes, checked: CheckedKey | None) -> None:
        """Keep a result for a short time."""
        self._results.pop(digest, None)
        while len(self._results) >= self.most:
            del self._results[next(iter(self._results))]
        self._results[digest] = checked, self.clock() + (REFUSED_FOR if checked is None else ACCEPTED_FOR)
