"""Slows down guessing of imported tokens that have little entropy. Pure.

Every address may present a few wrong tokens. After that it has to wait, and until then even a right token with little
entropy is not accepted from it: otherwise the response would tell a right guess from a wrong one. Connections on which
the token was accepted before are exempt, and so are all tokens of 128 bits and more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from wirekey.core.identity.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Hashable

MAX_REMEMBERED = 10_000
"""Wrong tokens remembered at a time, by their digest."""


class GuessLimit[Connection: Hashable]:
    """Counts the wrong tokens of each address. Times are seconds of a monotonic clock.

    The same wrong token again is not a guess: programs send one placeholder with every request.
    """

    def __init__(self) -> None:
        self._throttle: Throttle[str] = Throttle()
        self._wrong: dict[tuple[str, bytes], None] = {}
        self._accepted: WeakKeyDictionary[Connection, set[bytes]] = WeakKeyDictionary()

    def was_accepted(self, connection: Connection, digest: bytes) -> bool:
        """Return whether a connection has presented this right token before."""
        return digest in self._accepted.get(connection, ())

    def wait(self, address: str, now: float) -> int:
        """Return the seconds that an address has to wait; 0 means that its tokens are looked up."""
        return self._throttle.wait(address, now)

    def accept(self, connection: Connection, digest: bytes) -> None:
        """Remember that a connection has presented a right token."""
        self._accepted.setdefault(connection, set()).add(digest)

    def fail(self, address: str, digest: bytes, now: float) -> None:
        """Count a wrong token of an address, unless the address has presented it before."""
        if (address, digest) in self._wrong:
            return
        while len(self._wrong) >= MAX_REMEMBERED:
            del self._wrong[next(iter(self._wrong))]
        self._wrong[address, digest] = None
        self._throttle.failed(address, now)
