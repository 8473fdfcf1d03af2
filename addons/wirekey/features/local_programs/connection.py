"""The client's side of the Agent Client Protocol, version 1, without I/O.

JSON-RPC 2.0 with one message a line. Requests return their bytes, `feed` returns the events that bytes of the program
bring, and `replies` what must be written back. Nothing here raises because of what the program sends.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

PROTOCOL_VERSION = 1
LONGEST_LINE = 8 * 1024 * 1024
"""Bytes of one message. A program that sends more without a line end is broken."""
AUTHENTICATION_REQUIRED = -32000
METHOD_NOT_FOUND = -32601
UNKNOWN_METHOD = b'{"code":-32601,"message":"the client has no such capability"}'

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class ProgramFault(StrEnum):
    """The kind of a failure."""

    LOGIN = "login"  # the program wants its user to log in
    VERSION = "version"  # it speaks another version of the protocol
    PROTOCOL = "protocol"  # it sends something that the protocol does not have
    PROGRAM = "program"  # it answered with an error


@dataclass(frozen=True, slots=True)
class Ready:
    """The program has answered `initialize` in our version."""


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """The program has made a session."""

    session: str


@dataclass(frozen=True, slots=True)
class TextPiece:
    """A piece of the response, or of the reasoning before it."""

    session: str
    text: str
    is_thought: bool = False


@dataclass(frozen=True, slots=True)
class Activity:
    """The program works: a call of a tool, a plan, a question for permission. `kind` is from the protocol."""

    kind: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The turn has ended, for a reason of the protocol."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A request has failed, or the program is broken. `detail` has no text of the program."""

    fault: ProgramFault
    detail: str


type Event = Ready | SessionOpened | TextPiece | Activity | Stopped | Failed

KINDS = ("tool_call", "tool_call_update", "plan", "available_commands_update", "current_mode_update")
"""Updates that are counted and not shown."""


class Connection:
    """One conversation of JSON-RPC with a program. At most one prompt is in progress at a time."""

    def __init__(self, *, auto_accept: bool = False, name: str = "wirekey", version: str = "0") -> None:
        self.auto_accept = auto_accept
        self.client = {"name": name, "version": version}
        self.replies = bytearray()
        """Bytes to write to the program. The caller takes them after each `feed`."""
        self.is_broken = False
        self._line = bytearray()
        self._next_id = 0
        self._pending: dict[int, str] = {}

    # Sent to the program.

    def initialize(self) -> bytes:
        """Return the first request. A `Ready` answers it."""
        capabilities: dict[str, object] = {}
        return self._request(
            "initialize",
            {"protocolVersion": PROTOCOL_VERSION, "clientCapabilities": capabilities, "clientInfo": self.client},
        )

    def open_session(self, folder: str) -> bytes:
        """Return the request for a session in a folder. A `SessionOpened` answers it."""
        return self._request("session/new", {"cwd": folder, "mcpServers": []})

    def prompt(self, session: str, text: str) -> bytes:
        """Return the request for a turn. A `Stopped` answers it, after any number of `TextPiece`."""
        return self._request("session/prompt", {"sessionId": session, "prompt": [{"type": "text", "text": text}]})

    def cancel(self, session: str) -> bytes:
        """Return the notification that ends a turn early. The program still answers its prompt."""
        return _line({"jsonrpc": "2.0", "method": "session/cancel", "params": {"sessionId": session}})

    def _request(self, method: str, params: dict[str, object]) -> bytes:
        number = self._next_id
        self._next_id += 1
        self._pending[number] = method
        return _line({"jsonrpc": "2.0", "id": number, "method": method, "params": params})

    # Received from the program.

    def feed(self, data: bytes) -> list[Event]:
        """Return the events of the next bytes, however they were cut."""
        events: list[Event] = []
        if self.is_broken:
            return events
        *lines, rest = data.split(b"\n")
        for end in lines:
            line = bytes(self._line) + end
            self._line.clear()
            if len(line) > LONGEST_LINE:
                return [*events, self._break("it sent a message that is too long")]
            events += self._read(line.strip())
        self._line += rest
        if len(self._line) > LONGEST_LINE:
            events.append(self._break("it sent a message that is too long"))
        return events

    def _break(self, detail: str) -> Failed:
        self.is_broken = True
        self._line.clear()
        return Failed(ProgramFault.PROTOCOL, detail)

    def _read(self, line: bytes) -> list[Event]:
        if not line.startswith(b"{"):
            return []  # a notice of the program on the wrong stream
        try:
            message = _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return [self._break("it sent a line that is no JSON")]
        method, number = message.get("method"), message.get("id")
        if isinstance(method, str):
            params = message.get("params")
            params = params if isinstance(params, dict) else {}
            if "id" in message:
                return self._answer(number, method, params)
            return _update(params) if method == "session/update" else []
        pending = self._pending.pop(number, None) if isinstance(number, int) else None
        if pending is None:
            return []
        error = message.get("error")
        return [_failure(error) if isinstance(error, dict) else self._result(pending, message.get("result"))]

    def _result(self, method: str, result: Any) -> Event:
        found = result if isinstance(result, dict) else {}
        if method == "initialize":
            version = found.get("protocolVersion")
            if version == PROTOCOL_VERSION:
                return Ready()
            named = version if isinstance(version, int) else "none"
            return Failed(
                ProgramFault.VERSION, f"it speaks version {named} of the protocol, and Wirekey {PROTOCOL_VERSION}"
            )
        name = "sessionId" if method == "session/new" else "stopReason"
        value = found.get(name)
        if not isinstance(value, str):
            return Failed(ProgramFault.PROTOCOL, f"its response to {method} has no {name}")
        return SessionOpened(value) if method == "session/new" else Stopped(value)

    def _answer(self, number: Any, method: str, params: dict[str, Any]) -> list[Event]:
        """Answer a request of the program: a question for permission by the setting, all others by a refusal."""
        if method == "session/request_permission":
            body = b'"result":' + _encode({"outcome": outcome(params.get("options"), auto_accept=self.auto_accept)})
        else:
            body = b'"error":' + UNKNOWN_METHOD
        self.replies += b'{"jsonrpc":"2.0","id":%s,%s}\n' % (_encode(number), body)
        return [Activity("permission" if method == "session/request_permission" else "request")]


def outcome(options: Any, *, auto_accept: bool) -> dict[str, str]:
    """Return the reply to a question for permission: to allow once, else to reject once, else to cancel."""
    offered = [option for option in options if isinstance(option, dict)] if isinstance(options, list) else []
    for kind in ("allow_once", "reject_once") if auto_accept else ("reject_once",):
        for option in offered:
            if option.get("kind") == kind and isinstance(option.get("optionId"), str):
                return {"outcome": "selected", "optionId": option["optionId"]}
    return {"outcome": "cancelled"}


def _update(params: dict[str, Any]) -> list[Event]:
    update, session = params.get("update"), params.get("sessionId")
    if not isinstance(update, dict) or not isinstance(session, str):
        return []
    kind, content = update.get("sessionUpdate"), update.get("content")
    if kind in ("agent_message_chunk", "agent_thought_chunk"):
        text = content.get("text") if isinstance(content, dict) else None
        return [TextPiece(session, text, kind == "agent_thought_chunk")] if isinstance(text, str) and text else []
    return [Activity(kind)] if kind in KINDS else []


def _failure(error: dict[str, Any]) -> Failed:
    code = error.get("code")
    if code == AUTHENTICATION_REQUIRED or "authenticat" in str(error.get("message", "")).lower():
        return Failed(ProgramFault.LOGIN, "it wants its user to log in")
    return Failed(ProgramFault.PROGRAM, f"it answered with error {code if isinstance(code, int) else 'without a code'}")


def _line(message: dict[str, object]) -> bytes:
    return bytes(_encode(message)) + b"\n"
