"""One of several processes that share the listeners of one Wirekey, as the core sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence


class StateHold(Protocol):
    """The state folder, which only one Wirekey may use, until it is released."""

    def release(self) -> None:
        """Leave the folder to others."""


class RunningSimulator(Protocol):
    """A simulator that runs, in this process or in a different one."""

    port: int

    async def stop(self) -> None:
        """Stop it, if it runs in this process."""


class SharedSimulator(RunningSimulator, Protocol):
    """A simulator that all workers use. `keys`: provider → the key that it accepts."""

    keys: dict[str, str]


class Worker(Protocol):
    """The process's connection to the others, by way of the one that starts them and opens the listeners.

    `is_first`: whether this process reports the start. `does_shared_work`: whether it does what one process does for
    all. `tag`: with which the ids of its calls end. `interrupted`: the tags of processes that have died. `sockets`:
    listener → the sockets that all accept from. `modes`: the value of mitmproxy's option `mode` for these.
    """

    is_first: bool
    does_shared_work: bool
    tag: str
    interrupted: tuple[str, ...]
    simulator: SharedSimulator | None
    sockets: Mapping[str, Sequence[socket.socket]]
    states: list[dict[str, Any]]
    """The state of each worker, for /ready and the live page."""
    on_drain: Callable[[float, bool], None]
    """Called with the seconds for which connections are still accepted, and whether other workers continue then."""
    on_stop: Callable[[], None]
    collectors: dict[str, Callable[[], Any]]
    """Name of a report that other workers ask for → a function that returns it as JSON values or an awaitable."""
    receivers: dict[str, Callable[[Any], None]]
    """Topic of a message of another worker → its receiver."""

    def take_state(self) -> StateHold:
        """Have mitmproxy accept from the shared sockets, and share the state folder."""

    def modes(self) -> list[str]:
        """Return the value of mitmproxy's option `mode` for the sockets of the proxy and the gateway."""

    async def connect(self) -> None:
        """Begin to receive messages."""

    def report_listening(self) -> None:
        """Report that the worker accepts connections."""

    def tell(self, topic: str, message: Any, keep: str | None = None) -> None:
        """Send a message to the other workers. `keep`: workers that start later get the last one with this key, too."""

    async def ask(self, what: str) -> list[Any]:
        """Return what each of the other workers returns of `what`. Those that do not respond in time are left out."""

    def close(self) -> None:
        """Close the connection and the sockets."""
