"""A listener on the loopback interface that answers Wirekey's own calls, in Gemini's format, by local programs.

So a program is an upstream like any other: policy, audit, translation, metering and time limits are the same. The
listener answers only requests with a key that nobody but this process has.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import re
import secrets
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from wirekey.features.local_programs.connection import Stopped, TextPiece
from wirekey.features.local_programs.conversation import UnsupportedError, read_conversation
from wirekey.features.local_programs.pool import ProgramKey, ProgramPool
from wirekey.features.local_programs.process import Command, ProgramError
from wirekey.features.local_programs.responses import FINISH_REASONS, StreamWriter, error, piece, whole
from wirekey.features.local_programs.workspaces import WorkspaceError, workspace

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncGenerator, Mapping
    from pathlib import Path


logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
KEY_HEADER = "x-goog-api-key"
AGENT_HEADER = "x-wirekey-program-agent"
SESSION_HEADER = "x-wirekey-program-session"
FOLDER_HEADER = "x-wirekey-program-folder"
PREFIX_HEADER = "x-wirekey-program-prefix"
MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""A name of a model that cannot be an option of the program."""
_TARGET = re.compile(r"/v1beta/models/([^/:]+):(generateContent|streamGenerateContent|[A-Za-z]+)")
INSTALL = "Install it with `npm install -g @google/gemini-cli`, or set backends.gemini-cli-acp.gemini_cli_executable."
VERSION_LIMIT = 5.0
WHOLE_LIMIT = 16 * 1024 * 1024
"""Characters of a response that is not streamed."""


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
            self._sockets = bind_sockets(0, HOST)
        return int(self._sockets[0].getsockname()[1])

    def use(self, settings: BridgeSettings | None) -> None:
        """Use these settings from now on."""
        self.settings = settings
        if settings:
            self.pool.limit, self.pool.idle = settings.processes, settings.idle_timeout

    def open(self, body_bytes: int) -> None:
        """Begin to answer, within the event loop."""
        if self._server is None and self.port:
            handler = (r".*", BridgeHandler, {"bridge": self})
            self._server = HTTPServer(
                Application([handler], log_function=lambda _: None),
                max_body_size=body_bytes,
                max_buffer_size=body_bytes + READ_AHEAD,
            )
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


READ_AHEAD = 64 * 1024


class BridgeHandler(RequestHandler):
    """Answers one request of Wirekey."""

    def initialize(self, bridge: Bridge) -> None:
        """Set what answers."""
        self.bridge = bridge
        self.task: asyncio.Task[None] | None = None

    def set_default_headers(self) -> None:
        """Send no header of tornado."""
        self.clear_header("Server")

    async def post(self) -> None:
        """Answer a request. It is cancelled when the client leaves."""
        self.task = asyncio.ensure_future(self.respond())
        with contextlib.suppress(asyncio.CancelledError, StreamClosedError):
            await self.task

    def on_connection_close(self) -> None:
        """Cancel the turn of a client that has left."""
        if self.task:
            self.task.cancel()

    async def respond(self) -> None:
        """Answer a request, or refuse it."""
        given = self.request.headers.get(KEY_HEADER, "")
        settings = self.bridge.settings
        if not hmac.compare_digest(given.encode(), self.bridge.key.encode()) or settings is None:
            self.refuse(404, "There is nothing here.")
            return
        found = _TARGET.fullmatch(self.request.path)
        if found is None or found[2] not in ("generateContent", "streamGenerateContent"):
            self.refuse(400, "The backend gemini-cli-acp answers conversations only.")
            return
        try:
            await self.answer(settings, unquote(found[1]), streams=found[2] == "streamGenerateContent")
        except (ProgramError, WorkspaceError) as problem:
            self.refuse(problem.status, str(problem))
        except UnsupportedError as problem:
            self.refuse(400, str(problem))

    def refuse(self, status: int, message: str) -> None:
        """Respond with an error in Gemini's format."""
        self.set_status(status)
        self.finish(error(status, message))

    async def answer(self, settings: BridgeSettings, model: str, *, streams: bool) -> None:
        """Have a program answer. Raises ProgramError, WorkspaceError or UnsupportedError before the first byte."""
        if not MODEL.fullmatch(model):
            raise UnsupportedError("The name of the model cannot be given to a local program.")
        headers = self.request.headers
        conversation = read_conversation(self.request.body)
        asked = headers.get(FOLDER_HEADER)
        folder = await asyncio.to_thread(
            workspace, unquote(asked) if asked else None, settings.workspace, settings.workspaces
        )
        command = settings.command(model)
        key = ProgramKey(command.line, folder, headers.get(AGENT_HEADER, ""), headers.get(SESSION_HEADER, ""))
        shown = unquote(headers.get(PREFIX_HEADER, "")) + model
        async with self.bridge.pool.use(key, command) as program:
            turn = program.turn(conversation)
            async with contextlib.aclosing(turn):
                if streams:
                    await self.stream(turn, shown)
                else:
                    await self.respond_whole(turn, shown)

    async def stream(self, turn: AsyncGenerator[TextPiece | Stopped], model: str) -> None:
        """Send each piece as it comes. An error after the first piece ends the stream with an error event."""
        writer = StreamWriter(as_array=self.get_query_argument("alt", "") != "sse")
        began = False
        try:
            async for event in turn:
                if not began:
                    self.set_header("Content-Type", writer.content_type)
                    began = True
                self.write(writer.event(event_document(model, event)))
                await self.flush()
        except ProgramError as problem:
            if not began:
                raise
            self.write(writer.event(error(problem.status, str(problem))))
        self.finish(writer.end())

    async def respond_whole(self, turn: AsyncGenerator[TextPiece | Stopped], model: str) -> None:
        """Send the response as a whole."""
        texts: dict[bool, list[str]] = {True: [], False: []}
        length, reason = 0, ""
        async for event in turn:
            if isinstance(event, Stopped):
                reason = event.reason
                continue
            texts[event.is_thought].append(event.text)
            length += len(event.text)
            if length > WHOLE_LIMIT:
                raise ProgramError(502, "The response of the local program is too large. Use a stream.")
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.finish(whole(model, "".join(texts[True]), "".join(texts[False]), finish_reason(reason)))


def event_document(model: str, event: TextPiece | Stopped) -> dict[str, object]:
    """Return an event of a stream. Raises ProgramError for a turn that was cancelled."""
    if isinstance(event, TextPiece):
        return piece(model, event.text, is_thought=event.is_thought)
    return piece(model, finish=finish_reason(event.reason))


def finish_reason(reason: str) -> str:
    """Return Gemini's finish reason. Raises ProgramError for a turn that the program cancelled."""
    if reason == "cancelled":
        raise ProgramError(502, "The local program has cancelled the turn.")
    return FINISH_REASONS.get(reason, "OTHER")
