"""The protocol of all kinds of sinks, and the addresses that they may have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from wirekey.core.egress.addresses import is_address, is_loopback, is_own_name
from wirekey.core.egress.http_client import HttpError, checked, resolve

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence
    from pathlib import Path

    from wirekey.core.audit.event import AuditEvent

TIMEOUT = 5.0
"""Seconds that a step of a delivery may take, such as to connect."""


class SinkError(Exception):
    """A sink does not accept events. The message ends a sentence about it, and has no secret and no event."""


class RejectedEventsError(Exception):
    """A sink has accepted a delivery, but rejects some of its events for good. `count`: of these."""

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} events are rejected")
        self.count = count


class Sink(Protocol):
    """A system that gets events, for one thread. `place`: its address for messages, without secrets."""

    place: str
    confirms: bool
    """Whether a delivery without an error shows that the events have arrived."""
    most: int
    """The number of events in a delivery."""
    linger: float
    """Seconds that events may wait until there are `most` of them."""

    def send(self, events: Sequence[AuditEvent]) -> None:
        """Deliver events, of which there is at least one. Blocks for some seconds.

        Raises SinkError, and RejectedEventsError after a delivery.
        """

    def check(self) -> None:
        """Check whether the system would accept events, without an event. Blocks for some seconds. Raises SinkError."""

    def close(self) -> None:
        """Close the connection, if there is one. Raises nothing."""


def addresses_of(host: str, port: int) -> tuple[str, ...]:
    """Return the addresses at which a sink may be: public ones, those of private networks, and this machine by name.

    Blocks. Raises SinkError.
    """
    try:
        addresses = (host,) if is_address(host) else resolve(host, port)
        if is_own_name(host) and all(map(is_loopback, addresses)):
            return addresses
        return checked(host, addresses, private=True)
    except HttpError as error:
        raise SinkError(str(error)) from None


def trusted(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that trusts the public roots, or only a CA of the operator. Raises OSError."""
    import ssl

    import certifi

    return ssl.create_default_context(cafile=str(ca_file or certifi.where()))
