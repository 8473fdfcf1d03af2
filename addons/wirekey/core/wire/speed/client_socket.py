"""Receives the bytes of a client connection, without asyncio's reader and the task that waits for it.

asyncio's `StreamReader` copies what is received into a buffer, wakes a task in the next iteration of the loop, and
copies it out again. Here the transport hands it to the layers directly. `handle_connection` waits for the end only.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from mitmproxy.proxy import events

from wirekey.core.wire.http2 import FramesWaiting
from wirekey.core.wire.pooled_connection import PooledConnection

if TYPE_CHECKING:
    from wirekey.core.wire.connection_handler import WireConnectionHandler

CONGESTED_BYTES = 16 * 1024
"""asyncio lets a writer write again below this."""


class ClientProtocol(asyncio.Protocol):
    """Replaces asyncio's reader of a client's transport. Reading pauses while a connection has much to write."""

    def __init__(
        self, handler: WireConnectionHandler, writer: asyncio.StreamWriter, reader: asyncio.StreamReader
    ) -> None:
        self.handler = handler
        assert isinstance(writer.transport, asyncio.Transport)
        self.transport = writer.transport
        self.stream = self.transport.get_protocol()
        """asyncio's protocol, on which the writer waits until it may write more."""
        self.ended = asyncio.get_running_loop().create_future()
        self.drain_task: asyncio.Task[None] | None = None
        self.received_before = bytes(reader._buffer)  # type: ignore[attr-defined]  # noqa: SLF001  # no public way
        reader._buffer.clear()  # type: ignore[attr-defined]  # noqa: SLF001
        if reader.at_eof() or reader.exception() is not None:
            self.finish()

    async def run(self) -> None:
        """Receive until the client has ended its side, or the connection has failed."""
        self.transport.set_protocol(self)
        try:
            if not self.transport.is_closing():
                self.transport.resume_reading()
            if self.received_before:
                data, self.received_before = self.received_before, b""
                self.handle(data)
            await self.ended
        finally:
            self.finish()
            if self.drain_task is not None:
                self.drain_task.cancel()
            self.transport.set_protocol(self.stream)

    def finish(self) -> None:
        """Receive nothing more."""
        if not self.ended.done():
            self.ended.set_result(None)

    # asyncio.Protocol.

    def data_received(self, data: bytes) -> None:
        """Hand bytes to the layers, unless the connection has ended."""
        if not self.ended.done():
            self.handle(data)

    def handle(self, data: bytes) -> None:
        """Hand bytes to the layers. Pause if this has made too much to write, or if some bytes were not handled."""
        self.handler.dispatch(events.DataReceived(self.handler.client, data))
        if self.drain_task is None and (self.is_congested or self.handler.has_waiting_frames):
            self.transport.pause_reading()
            self.drain_task = asyncio.create_task(self.drain())

    @property
    def is_congested(self) -> bool:
        """Return whether a connection may have so much to write that the client must not be read."""
        for transport in self.handler.transports.values():
            writer: Any = transport.writer
            if isinstance(writer, PooledConnection):
                if not writer.writable.is_set():
                    return True
            elif writer is not None and writer.transport.get_write_buffer_size() > CONGESTED_BYTES:
                return True
        return False

    async def drain(self) -> None:
        """Read again once there is room, and once all frames that were received are handled."""
        await self.handler.drain_writers()
        while self.is_open and self.handler.has_waiting_frames:
            await asyncio.sleep(0)  # all other connections have their turn
            self.handler.dispatch(FramesWaiting())
            await self.handler.drain_writers()
        self.drain_task = None
        if self.is_open:
            self.transport.resume_reading()

    @property
    def is_open(self) -> bool:
        """Return whether the client may still send."""
        return not self.ended.done() and not self.transport.is_closing()

    def eof_received(self) -> bool:
        """Note the end of what the client sends. Its side of the connection stays open for the response."""
        self.finish()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end of the connection."""
        self.finish()
        self.stream.connection_lost(exc)

    def pause_writing(self) -> None:
        """Make writers wait."""
        self.stream.pause_writing()

    def resume_writing(self) -> None:
        """Wake waiting writers."""
        self.stream.resume_writing()
