"""What a request may be answered with: at once, later, or by a stream that goes on. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from wirekey.local_response import LocalResponse

if TYPE_CHECKING:
    from wirekey.console.local_request import LocalRequest


class Outlet(Protocol):
    """Where a stream goes: one client."""

    @property
    def is_open(self) -> bool: ...

    @property
    def is_busy(self) -> bool:
        """Whether what was sent last is not taken yet. Who sends all the same lets it pile up."""

    def send(self, data: bytes) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Streamed:
    """An answer without an end: `head` has no length and no body. `start` gets the outlet once the head is sent."""

    head: LocalResponse
    start: Callable[[Outlet], None]


type LocalReply = LocalResponse | Streamed | Awaitable[LocalResponse]
type LocalHandler = Callable[["LocalRequest"], LocalReply]
