"""Counts the connections of clients by address and agent, and holds the deadlines of silent ones.

All loopback addresses count as one, and so does an IPv6 network of one owner.

A connection is silent until its client is identified. Silent connections are counted separately, and each of their
steps has a deadline. Times are seconds of a monotonic clock.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from wirekey.core.identity.throttle import neighbourhood

if TYPE_CHECKING:
    from typing import Self

    from wirekey.config.limits import TimeoutsConfig


class Step(StrEnum):
    """The next step of a silent client."""

    FIRST_BYTE = "first byte"
    HELLO = "ClientHello"
    HANDSHAKE = "TLS handshake"
    HEAD = "request head"


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds for each step."""

    first_byte: float = 10.0
    hello: float = 10.0
    head: float = 10.0

    @classmethod
    def of(cls, config: TimeoutsConfig) -> Self:
        """Return the deadlines of a configuration."""
        return cls(config.client_first_byte, config.client_hello, config.client_head)

    def for_step(self, step: Step) -> float:
        """Return the seconds for a step."""
        match step:
            case Step.FIRST_BYTE:
                return self.first_byte
            case Step.HEAD:
                return self.head
            case _:
                return self.hello

    @property
    def check_interval(self) -> float:
        """Seconds between two checks for overdue connections, short enough for the shortest deadline."""
        return max(0.05, min(1.0, min(self.first_byte, self.hello, self.head) / 4))


@dataclass(slots=True)
class Waiting:
    """A silent connection. `step` None: a request of it is open."""

    address: str
    since: float
    step: Step | None = Step.FIRST_BYTE
    requests: int = 0


class ClientConnections:
    """The connections of the clients of one process, by the id of the connection."""

    def __init__(self) -> None:
        self.silent: dict[str, Waiting] = {}
        """By the id of the connection."""
        self.of_address: defaultdict[str, dict[str, None]] = defaultdict(dict)
        """The silent connections of each address, the oldest first."""
        self.proven: dict[str, tuple[str, str]] = {}
        """Address and agent of each identified connection."""
        self.by_agent: Counter[tuple[str, str]] = Counter()

    def opened(self, connection: str, address: str, now: float, most: int) -> str | None:
        """Note a new connection. Return the oldest silent one of the address, to be closed, if there are too many.

        That one is forgotten at once: others may be opened before its end is reported, and each must replace another.
        """
        place = neighbourhood(address)
        self.silent[connection] = Waiting(place, now)
        alike = self.of_address[place]
        alike[connection] = None
        if len(alike) <= most:
            return None
        oldest = next(iter(alike))
        self._end_silence(oldest)
        return oldest

    def closed(self, connection: str) -> None:
        """Forget a connection that was closed."""
        self._end_silence(connection)
        if (whose := self.proven.pop(connection, None)) is not None:
            self.by_agent[whose] -= 1
            if self.by_agent[whose] <= 0:
                del self.by_agent[whose]

    def first_byte_received(self, connection: str) -> None:
        """Note the first bytes. The time for the whole head counts from the opening of the connection."""
        waiting = self.silent.get(connection)
        if waiting and waiting.step is Step.FIRST_BYTE:
            waiting.step = Step.HEAD

    def begin_step(self, connection: str, step: Step, now: float) -> None:
        """Note the next step, whose deadline begins now."""
        if waiting := self.silent.get(connection):
            waiting.step, waiting.since = step, now

    def request_started(self, connection: str) -> None:
        """Note the whole head of a request."""
        if waiting := self.silent.get(connection):
            waiting.requests += 1
            waiting.step = None

    def response_ended(self, connection: str, now: float) -> None:
        """Note the end of a response."""
        if waiting := self.silent.get(connection):
            waiting.requests = max(0, waiting.requests - 1)
            if not waiting.requests:
                waiting.step, waiting.since = Step.HEAD, now

    def prove(self, connection: str, address: str, agent: str, most: int) -> bool:
        """Count a connection for its agent. Return False if the agent has too many connections from this address."""
        if connection in self.proven:
            return True
        whose = (neighbourhood(address), agent)
        if self.by_agent[whose] >= most:
            return False
        self._end_silence(connection)
        self.proven[connection] = whose
        self.by_agent[whose] += 1
        return True

    def overdue(self, now: float, deadlines: Deadlines) -> list[tuple[str, Step]]:
        """Return the silent connections that have not done their next step in time."""
        return [
            (connection, waiting.step)
            for connection, waiting in self.silent.items()
            if waiting.step is not None and now - waiting.since > deadlines.for_step(waiting.step)
        ]

    def _end_silence(self, connection: str) -> None:
        if waiting := self.silent.pop(connection, None):
            alike = self.of_address[waiting.address]
            alike.pop(connection, None)
            if not alike:
                del self.of_address[waiting.address]
