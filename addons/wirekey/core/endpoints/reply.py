"""The kinds of reply to a local request: an immediate response, a later one, or a stream. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from wirekey.core.local_response import LocalResponse

if TYPE_CHECKING:
    from wirekey.core.endpoints.local_request import LocalRequest


class Outlet(Protocol):
    """The client end of a stream."""

    @property
    def is_open(self) -> bool:
        """Whether the client is still connected."""

    @property
    def is_busy(self) -> bool:
        """Whether the last data is still being sent. More data would accumulate in memory."""

    def send(self, data: bytes) -> None:
        """Send data."""

    def close(self) -> None:
        """End the stream."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """A response without end. `head` has no length and no body. `start` gets the outlet once the head is sent."""

    head: LocalResponse
    start: Callable[[Outlet], None]


type LocalReply = LocalResponse | Streamed | Awaitable[LocalResponse]
type LocalHandler = Callable[["LocalRequest"], LocalReply]
