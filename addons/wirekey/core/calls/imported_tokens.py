"""Finds the imported tokens that a request presents. They have no form of their own, so each value is looked up."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from wirekey.core.errors import Refusal
from wirekey.core.identity.client_tokens import MAX_HEADER, is_wirekey_token
from wirekey.core.identity.imported_credentials import SHORTEST
from wirekey.core.identity.throttle import neighbourhood

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mitmproxy import http
    from mitmproxy.connection import Client

    from wirekey.core.identity.agents import AgentStore
    from wirekey.core.identity.guess_limit import GuessLimit
    from wirekey.core.identity.proof import TokenReference

WORD = re.compile(rb"[!#-+./0-:<>-~-]{%d,}" % SHORTEST)


@dataclass(frozen=True, slots=True)
class ImportedTokens:
    """The imported tokens of one request, and the keys that a function of the operator has accepted."""

    claims: tuple[tuple[str | None, TokenReference], ...] = ()
    """(agent name or None, what is kept of the token) of each."""
    values: frozenset[str] = field(default=frozenset(), repr=False)
    """The tokens themselves, which must be masked wherever else the request quotes them."""
    wait: int = 0
    """Seconds until values of this client are looked up again. 0: they were looked up."""

    def masking(self, *others: Iterable[str]) -> tuple[bytes, ...]:
        """Return the tokens, and others, as the bytes that a request may quote, also percent-encoded."""
        values = self.values.union(*others)
        found = {form.encode() for value in values for form in (value, quote(value, safe=""))}
        return tuple(sorted(found, key=len, reverse=True))

    def with_checked(self, checked: ImportedTokens) -> ImportedTokens:
        """Return these tokens together with keys that the operator's function has accepted."""
        return ImportedTokens(self.claims + checked.claims, self.values | checked.values, self.wait)


NO_IMPORTED = ImportedTokens()


def find_imported(
    agents: AgentStore,
    guesses: GuessLimit[Client],
    connection: Client,
    presented: Iterable[tuple[str | None, str]],
    *,
    counts: bool = True,
) -> ImportedTokens:
    """Return the imported tokens among the values that a request presents, each with the agent name beside it or None.

    Wrong values count as guesses while there is a token that could be guessed. `counts` False: they do not, since the
    operator's function is asked about them next.
    """
    if not agents.has_imported:
        return NO_IMPORTED
    address, now, wait = neighbourhood(connection.peername[0]), time.monotonic(), 0
    claims, values = [], set()
    for name, value in presented:
        if not SHORTEST <= len(value) <= MAX_HEADER or is_wirekey_token(value):
            continue
        digest = agents.imported_digest(value)
        is_known, is_guessable = agents.is_imported(digest), agents.is_guessable(digest)
        if is_known and (not is_guessable or guesses.was_accepted(connection, digest)):
            claims.append((name, digest))
            values.add(value)
        elif agents.has_guessable:
            waiting = guesses.wait(address, now)
            if is_known and not waiting:
                guesses.accept(connection, digest)
                claims.append((name, digest))
                values.add(value)
            else:
                if counts or is_known:
                    guesses.fail(address, digest, now)
                wait = max(wait, waiting)
    return ImportedTokens(tuple(claims), frozenset(values), wait)


def quoted_token(agents: AgentStore, held: TokenReference | None, request: http.Request) -> frozenset[str]:
    """Return the imported token of a tunnel if a request in it quotes the token. `held`: its digest, as it is kept."""
    if not isinstance(held, bytes) or not agents.is_imported(held):
        return frozenset()
    words = {word for text in quotable(request) for word in WORD.findall(text)}
    texts = (word.decode("ascii") for word in words)
    return frozenset(text for text in texts if held in agents.imported_digests(text))


def quotable(request: http.Request) -> Iterator[bytes]:
    """Yield the parts of a head in which a token could be quoted."""
    yield from (part for field in request.headers.fields for part in field)
    yield from re.split(rb"[/?&=;]", request.data.path)


def slow_down(seconds: int) -> Refusal:
    """Return the refusal of a client whose address has presented too many wrong tokens."""
    return Refusal(
        429,
        "slow_down",
        f"Too many wrong tokens came from this address. Try again in {seconds} s. Tokens made by Wirekey (wirekey "
        "agents add NAME) never have to wait.",
        retry_after=seconds,
    )
