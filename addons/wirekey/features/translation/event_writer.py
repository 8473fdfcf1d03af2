"""The common part of the writers of streams: an event goes to the method for its kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from wirekey.features.translation import neutral as n

if TYPE_CHECKING:
    from wirekey.features.translation.reply import Reply


class EventWriter(ABC):
    """Writes neutral events as the bytes of a stream. It keeps the usage and the finish until the end.

    Each method returns the bytes that the client gets of one event.
    """

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.usage = n.TokenUsage()
        self.stop_event: n.Stop | None = None

    def write(self, event: n.Event) -> bytes:
        """Return the bytes of one event."""
        match event:
            case n.Delta():  # first, as nearly all events are
                return self.delta(event)
            case n.Begin():
                self.usage = n.merge_usage(self.usage, event.usage)
                return self.begin(event)
            case n.BlockBegin():
                return self.block_begin(event)
            case n.StateDelta():
                return self.state(event)
            case n.CitationDelta():
                return self.cited(event)
            case n.BlockEnd():
                return self.block_end(event)
            case n.UsageUpdate():
                self.usage = n.merge_usage(self.usage, event.usage)
            case n.Stop():
                return self.stop(event)
            case n.ProviderError():
                return self.failure(event)
            case n.Ping():
                return self.ping()
            case n.End():
                return self.end()
        return b""

    @abstractmethod
    def begin(self, event: n.Begin) -> bytes:
        """Return the start of the stream."""

    @abstractmethod
    def block_begin(self, event: n.BlockBegin) -> bytes:
        """Return the start of a block."""

    @abstractmethod
    def delta(self, event: n.Delta) -> bytes:
        """Return a piece of a block."""

    @abstractmethod
    def state(self, event: n.StateDelta) -> bytes:
        """Return the state of reasoning, or keep it for where the format has it."""

    @abstractmethod
    def block_end(self, event: n.BlockEnd) -> bytes:
        """Return the end of a block."""

    @abstractmethod
    def failure(self, event: n.ProviderError) -> bytes:
        """Return the error that ends the stream."""

    @abstractmethod
    def end(self) -> bytes:
        """Return the end of the stream."""

    def stop(self, event: n.Stop) -> bytes:
        """Keep the reason of the end until the end."""
        self.stop_event = event
        return b""

    def cited(self, event: n.CitationDelta) -> bytes:  # most formats have no sources of other providers
        """Return a source of the open text."""
        return b""

    def ping(self) -> bytes:
        """Return what shows an idle client that the stream lives."""
        return b""


class NumberedBlockWriter(EventWriter):
    """Writes blocks one after the other, each with the next number. Text of reasoning is signed before its block ends.

    The formats of Claude's models are like this.
    """

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.number = 0
        self.open = False
        self.kind = ""
        self.unsigned = False
        """Whether the open block has text of reasoning that no signature has followed."""

    @abstractmethod
    def signature(self, signature: str | None) -> bytes:
        """Return the signature of the open block."""

    @abstractmethod
    def thought(self, text: str) -> bytes:
        """Return the start of a block of reasoning with its whole text."""

    @abstractmethod
    def redacted(self, reasoning: n.Reasoning, state: str) -> bytes:
        """Return the start of a block that is the state of reasoning without its text."""

    @abstractmethod
    def block_stop(self) -> bytes:
        """Return the end of the open block."""

    def state(self, event: n.StateDelta) -> bytes:
        """Return the state of reasoning: the signature of shown text, or a block of its own before the open one."""
        carried = self.reply.carried(event.reasoning)
        if carried is None:
            return b""
        if self.kind == "reasoning" and self.open:
            self.unsigned = False
            return self.signature(carried)
        if self.open:
            return b""
        if self.reply.shows_whole(event.reasoning):
            shown = self.thought(event.reasoning.text or "")
            return shown + self.signature(carried) + self.close()
        return self.redacted(event.reasoning, carried) + self.close()

    def block_end(self, event: n.BlockEnd) -> bytes:  # one block is open at a time
        """Return the end of the open block."""
        return self.close()

    def close(self) -> bytes:
        """Return the end of the open block, if one is. Reasoning without a signature gets a mark."""
        if not self.open:
            return b""
        marked = self.signature(self.reply.unsigned_mark) if self.unsigned else b""
        stopped = self.block_stop()
        self.open = self.unsigned = False
        self.number += 1
        return marked + stopped
