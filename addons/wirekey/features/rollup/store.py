"""The stored texts of conversations in one process: bounded by entries and by bytes, and never on disk."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ENTRY_BYTES = 512
"""Bytes that an entry takes in addition to its text, about."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The text of one conversation. `size`: bytes of memory."""

    agent: str
    text: str = field(repr=False)
    size: int


class RollupStore:
    """The texts by the key of their messages. The least recently used ones are removed first."""

    def __init__(self) -> None:
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self.size = 0
        """Bytes of all entries."""

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: bytes) -> bool:
        return key in self._entries

    @property
    def agents(self) -> frozenset[str]:
        """The agents that have entries."""
        return frozenset(entry.agent for entry in self._entries.values())

    def find(self, key: bytes) -> str | None:
        """Return the text under a key, which is now the most recently used one; None if there is no such entry."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry.text

    def put(self, key: bytes, agent: str, text: str, most_entries: int, most_bytes: int) -> None:
        """Store a text, and remove others beyond the limits. A text that is larger than all of them is not stored."""
        size = len(text.encode("utf-8", "surrogatepass")) + ENTRY_BYTES
        self._remove(key)
        if size <= most_bytes:
            self._entries[key] = Entry(agent, text, size)
            self.size += size
        self.limit(most_entries, most_bytes)

    def limit(self, most_entries: int, most_bytes: int) -> None:
        """Remove the least recently used entries until the rest is within the limits."""
        while self._entries and (len(self._entries) > most_entries or self.size > most_bytes):
            self._remove(next(iter(self._entries)))

    def remove_agents(self, is_gone: Callable[[str], bool]) -> None:
        """Remove the entries of the agents for which `is_gone` returns True."""
        gone = {agent for agent in self.agents if is_gone(agent)}
        for key in [key for key, entry in self._entries.items() if entry.agent in gone]:
            self._remove(key)

    def clear(self) -> None:
        """Remove all entries."""
        self._entries.clear()
        self.size = 0

    def _remove(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry:
            self.size -= entry.size
