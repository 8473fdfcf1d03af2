"""A listener on the loopback interface that answers Wirekey's own calls, in Gemini's format, by local programs.

So a program is an upstream like any other: policy, audit, translation, metering and time limits are the same. The
listener answers only requests with a key that nobody but this process has.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.features.local_programs.pool import ProgramPool
from wirekey.features.local_programs.process import Command, ProgramError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tornado.httpserver import HTTPServer

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
KEY_HEADER = "x-goog-api-key"
AGENT_HEADER = "x-wirekey-program-agent"
SESSION_HEADER = "x-wirekey-program-session"
FOLDER_HEADER = "x-wirekey-program-folder"
PREFIX_HEADER = "x-wirekey-program-prefix"
MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""A name of a model that cannot be an option of the program."""
INSTALL = "Install it with `npm install -g @google/gemini-cli`, or set backends.gemini-cli-acp.gemini_cli_executable."
VERSION_LIMIT = 5.0


@dataclass(frozen=True, slots=True)
class BridgeSettings:
    """The settings of the backend, ready to use."""

    executable: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    workspace: Path | None = None
    workspaces: tuple[Path, ...] = ()
    auto_accept: bool = False
    processes: int = 8
    idle_timeout: float = 30.0
    process_timeout: float = 300.0

    def path(self) -> str | None:
        """Return the path of the program, or None if it was not found."""
        return shutil.which(self.executable, path=self.environment.get("PATH"))

    def command(self, model: str) -> Command:
        """Return how the program is started for a model. Raises ProgramError(503) if it is not installed."""
        path = self.path()
        if path is None:
            raise ProgramError(503, f"The local program {self.executable} was not found. {INSTALL}")
        accepting = ("-y",) if self.auto_accept else ()
        line = (path, *self.arguments, "--model", model, *accepting)
        return Command(line, self.environment, self.auto_accept, self.process_timeout)


class Bridge:
    """The listener and its programs. `settings` is replaced when the configuration changes; None refuses all."""

    def __init__(self) -> None:
        self.key = secrets.token_urlsafe(32)
        self.settings: BridgeSettings | None = None
        self.pool = ProgramPool()
        self._sockets: list[socket.socket] = []
        self._server: HTTPServer | None = None
        self._check: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port of the listener, which is bound on the first use."""
        if not self._sockets:
            from tornado.netutil import bind_sockets

            self._sockets = bind_sockets(0, HOST)
        return int(self._sockets[0].getsockname()[1])

    def use(self, settings: BridgeSettings | None) -> None:
        """Use these settings from now on."""
        self.settings = settings
        if settings:
            self.pool.limit, self.pool.idle = settings.processes, settings.idle_timeout

    def open(self, server: Callable[[], HTTPServer]) -> None:
        """Begin to answer, within the event loop. `server` returns the server of requests, without sockets."""
        if self._server is None and self.port:
            self._server = server()
            self._server.add_sockets(self._sockets)
            self._check = asyncio.ensure_future(self.check())

    async def close(self) -> None:
        """Stop to answer, and end all programs."""
        self.settings = None
        if self._check:
            self._check.cancel()
        if self._server:
            self._server.stop()
        else:
            for one in self._sockets:
                one.close()
        await self.pool.close()
        if self._server:
            await self._server.close_all_connections()

    async def check(self) -> None:
        """Try whether the program runs, and log what to do if it does not."""
        settings = self.settings
        path = settings.path() if settings else None
        if settings is None or path is None:
            if settings:
                logger.warning("The local program %s was not found. %s", settings.executable, INSTALL)
            return
        try:
            process = await asyncio.create_subprocess_exec(
                path,
                "--version",
                env=dict(settings.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
        except OSError as problem:
            logger.warning("The local program %s cannot be started: %s", settings.executable, problem.strerror)
            return
        try:
            async with asyncio.timeout(VERSION_LIMIT):
                status = await process.wait()
        except TimeoutError:
            status = None
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if status != 0:
            logger.warning("The local program %s prints no version with --version. %s", settings.executable, INSTALL)
