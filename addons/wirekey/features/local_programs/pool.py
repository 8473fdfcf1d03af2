"""The running programs: one for each folder, model, agent and session, up to a limit, ended when they are idle."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wirekey.features.local_programs.process import Command, LocalProgram, ProgramError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@dataclass(frozen=True, slots=True)
class ProgramKey:
    """Whose program it is, and where it works. Two agents never share a program."""

    command: tuple[str, ...]
    folder: str
    agent: str
    session: str


@dataclass(slots=True, eq=False)
class PooledProgram:
    """A program, and how many requests use it."""

    program: LocalProgram
    users: int = 0
    timer: asyncio.TimerHandle | None = None


@dataclass(slots=True, eq=False)
class ProgramPool:
    """The programs of one process of Wirekey. For one event loop."""

    limit: int = 8
    """Most programs that run at the same time."""
    idle: float = 30.0
    """Seconds without a request after which a program is ended."""
    _entries: dict[ProgramKey, PooledProgram] = field(default_factory=dict)
    """Those used longest ago come first."""
    _ending: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def count(self) -> int:
        """The programs that run."""
        return len(self._entries)

    @contextlib.asynccontextmanager
    async def use(self, key: ProgramKey, command: Command) -> AsyncGenerator[LocalProgram]:
        """Lend the program of a key. A new one is not started yet. Raises ProgramError(503) at the limit."""
        entry = self._entries.pop(key, None)
        if entry and entry.program.is_over:
            self._end(entry)
            entry = None
        if entry is None:
            if len(self._entries) >= self.limit:
                self._make_room()
            entry = PooledProgram(LocalProgram(command, key.folder))
        self._entries[key] = entry
        entry.users += 1
        if entry.timer:
            entry.timer.cancel()
            entry.timer = None
        try:
            yield entry.program
        finally:
            entry.users -= 1
            if not entry.users:
                if entry.program.is_over:
                    self._remove(key, entry)
                else:
                    entry.timer = asyncio.get_running_loop().call_later(self.idle, self._remove, key, entry)

    def _make_room(self) -> None:
        for key, entry in self._entries.items():
            if not entry.users:
                self._remove(key, entry)
                return
        raise ProgramError(
            503,
            f"All {self.limit} local programs are busy. Try again later, or raise backends.gemini-cli-acp.processes.",
        )

    def _remove(self, key: ProgramKey, entry: PooledProgram) -> None:
        if self._entries.get(key) is entry:
            del self._entries[key]
        self._end(entry)

    def _end(self, entry: PooledProgram) -> None:
        if entry.timer:
            entry.timer.cancel()
        task = asyncio.ensure_future(entry.program.end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """End all programs, and wait for that."""
        for key, entry in list(self._entries.items()):
            self._remove(key, entry)
        await asyncio.gather(*self._ending, return_exceptions=True)
