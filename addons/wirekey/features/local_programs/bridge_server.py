"""Responds to the requests that the bridge receives, by local programs."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.web import Application, RequestHandler

from wirekey.features.local_programs.bridge import (
    AGENT_HEADER,
    FOLDER_HEADER,
    KEY_HEADER,
    MODEL,
    PREFIX_HEADER,
    SESSION_HEADER,
)
from wirekey.features.local_programs.connection import Stopped, TextPiece
from wirekey.features.local_programs.conversation import UnsupportedError, read_conversation
from wirekey.features.local_programs.pool import ProgramKey
from wirekey.features.local_programs.process import ProgramError
from wirekey.features.local_programs.responses import FINISH_REASONS, StreamWriter, error, piece, whole
from wirekey.features.local_programs.workspaces import WorkspaceError, workspace

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from wirekey.features.local_programs.bridge import Bridge, BridgeSettings

READ_AHEAD = 64 * 1024
WHOLE_LIMIT = 16 * 1024 * 1024
"""Characters of a response that is not streamed."""
_TARGET = re.compile(r"/v1beta/models/([^/:]+):(generateContent|streamGenerateContent|[A-Za-z]+)")


def bridge_server(bridge: Bridge, body_bytes: int) -> HTTPServer:
    """Return the server of a bridge, without sockets."""
    handler = (r".*", BridgeHandler, {"bridge": bridge})
    return HTTPServer(
        Application([handler], log_function=lambda _: None),
        max_body_size=body_bytes,
        max_buffer_size=body_bytes + READ_AHEAD,
    )


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
        requested = headers.get(FOLDER_HEADER)
        folder = await asyncio.to_thread(
            workspace, unquote(requested) if requested else None, settings.workspace, settings.workspaces
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
