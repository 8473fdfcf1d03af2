"""The extension points: everything that an operator may plug into Wirekey, in Python.

- **Credentials**: `auth: python:MODULE:FUNCTION` of a route. Wirekey calls `FUNCTION(call, head)` for each attempt that
  uses the route. It returns the headers to set, or a `Signer`, which is then called with the request as it is sent.
- **The choice of a model**: `model_override: python:MODULE:FUNCTION`. Wirekey calls `FUNCTION(call, head)` for each
  call of a model. It returns the model to send, or None for the requested one.
- **The check of keys**: `identity.check: python:MODULE:FUNCTION`. Wirekey calls `FUNCTION(key, place)` for a key that
  is no credential of Wirekey. It returns the name of an agent, or an `Agent`, or None to refuse the key.
- **Request hooks**: `extensions: [python:MODULE:CLASS]`. Wirekey makes one object of the class, and calls its methods
  `on_request`, `on_response` and `on_end` around each call. `Hooks` describes them.

Functions and methods may be `async`. All of these run on one event loop, in a thread of its own. Other functions run in
a pool of threads. So one that waits, or blocks, delays no other traffic, and its time limit always holds. If one raises
an exception, takes longer than its limit or sets a header that it must not set, the call fails with 503. No extension
sees a credential, neither of the client nor of Wirekey, except for the key that a function is to check.

Modules are imported when the configuration is read, from its folder or from Wirekey's environment. After a change of a
module, restart Wirekey. An extension runs inside Wirekey's process, with access to everything in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, runtime_checkable

import msgspec

from wirekey.core.call import Agent
from wirekey.core.errors import Refusal
from wirekey.core.header_names import NAME
from wirekey.core.secret import Secret
from wirekey.providers.credential_headers import is_credential_header

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from wirekey.core.body import RequestBody

__all__ = [
    "Agent",
    "CallInfo",
    "EndedCall",
    "ExtensionError",
    "Head",
    "Hooks",
    "Refusal",
    "Request",
    "Response",
    "ResponseHead",
    "Secret",
    "Signer",
]

MAX_VALUE_LENGTH = 16 * 1024
MEMBER = re.compile(r"[A-Za-z0-9_.$-]{1,128}", re.ASCII)
REFUSED_HEADERS = frozenset(
    {
        # Destination and framing: with other values, another request would be sent than the one that was checked.
        "host", "content-length", "transfer-encoding", "content-encoding", "content-type",
        # Headers of a connection, not of a request (RFC 9110 section 7.6.1).
        "connection", "expect", "keep-alive", "te", "trailer", "upgrade", "proxy-connection",
        "proxy-authorization", "proxy-authenticate",
        "x-http-method", "x-http-method-override", "x-method-override",
    }
)  # fmt: skip
"""Header names, in lower case, that an extension must not set."""


@dataclass(frozen=True, slots=True)
class CallInfo:
    """A call. A field is None if it is unknown or does not apply."""

    id: str
    agent_id: str | None
    agent_role: str | None
    agent_type: str | None
    provider: str
    operation: str
    requested_model: str | None
    model: str | None
    """The model that is sent to the provider."""
    stream: bool
    route: str
    """The label of the route, such as `routes[2]`."""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of the request as it is sent, without credentials. Header names are as the client wrote them."""

    method: str
    host: str
    """Host name, with the port unless it is 443."""
    path: str
    """Path and query as they are sent."""
    headers: tuple[tuple[str, str], ...]


type Headers = Mapping[str, str]


@runtime_checkable
class Signer(Protocol):
    """Computes headers, such as a signature, from the request as it is sent."""

    def sign(self, head: Head, body: bytes | None) -> Headers | Awaitable[Headers]:
        """Return the headers to set. `body` is None if it is streamed and thus cannot be signed."""


type Function = Callable[[CallInfo, Head], Headers | Signer | Awaitable[Headers | Signer]]
type KeyFunction = Callable[[Secret, str], str | Agent | Awaitable[str | Agent | None] | None]
type ModelFunction = Callable[[CallInfo, Head], str | Awaitable[str | None] | None]


class ExtensionError(Exception):
    """An extension cannot be used or failed. The text contains none of the values that it returned."""


@dataclass(frozen=True, slots=True)
class HeaderFields:
    """The headers of a message, in order, with names as they came. It never changes: each change is a new object."""

    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str | None:
        """Return the value of a header, by its name in any case, or None. Several values are joined by commas."""
        found = [value for other, value in self.headers if other.lower() == name.lower()]
        return ", ".join(found) if found else None

    def with_header(self, name: str, value: str) -> Self:
        """Return the message with this header instead of others of its name. Raises ExtensionError."""
        check_header(name, value)
        kept = tuple(field for field in self.headers if field[0].lower() != name.lower())
        return replace(self, headers=(*kept, (name, value)))

    def without_header(self, name: str) -> Self:
        """Return the message without this header. Raises ExtensionError."""
        check_header(name, "")
        return replace(self, headers=tuple(field for field in self.headers if field[0].lower() != name.lower()))


@dataclass(frozen=True, slots=True)
class Request(HeaderFields):
    """The request of a client, before Wirekey recognises and decides it. Headers have no credentials.

    Return a changed one from `on_request`. Method, path and host cannot be changed.
    """

    id: str
    agent_id: str | None
    agent_role: str | None
    agent_type: str | None
    client: str | None
    """The address of the client, without port."""
    provider: str | None
    """None for a preflight of a web page on a path of no provider."""
    method: str
    path: str
    """Path and query as they are sent."""
    is_preflight: bool = False
    """Whether a browser asks if a web page may call. It has no agent. Without a Response, it is refused."""
    is_json: bool = False
    """Whether the body is JSON that Wirekey reads."""
    content: RequestBody | None = field(default=None, repr=False)

    @property
    def size(self) -> int | None:
        """The length of the body. None: the request has no body, or Wirekey passes it through unread."""
        return None if self.content is None else len(self.content)

    @property
    def body(self) -> bytes | None:
        """The body. None: the request has no body, or Wirekey passes it through unread, as it does uploads.

        A body of more than 4 MiB is in a file. Each use of this property reads the whole file into memory.
        """
        return None if self.content is None else self.content[:]

    def json(self) -> Any:
        """Return the decoded JSON body. Raises Refusal(400) if it is not valid JSON, which no model gets either."""
        if self.content is None:
            return None
        try:
            return msgspec.json.decode(self.content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Refusal(400, "malformed_body", "The request body is not valid JSON.") from None

    def with_body(self, body: bytes) -> Request:
        """Return the request with another body. Raises ExtensionError if Wirekey does not read the body."""
        if self.content is None:
            raise ExtensionError("a body that is passed through unread cannot be replaced")
        return replace(self, content=bytes(body))

    def with_json(self, value: Any) -> Request:
        """Return the request with this value as its JSON body."""
        return self.with_body(msgspec.json.encode(value))

    def with_member(self, name: str, value: Any) -> Request:
        """Return the request with a member of its JSON body added or replaced. All other bytes stay as they are.

        This works for large bodies, too: they stay in a file. Raises Refusal(400) if the body is not a JSON object.
        """
        from wirekey.providers.json_edits import EditableBody

        if self.content is None:
            raise ExtensionError("a body that is passed through unread cannot be changed")
        if not MEMBER.fullmatch(name):
            raise ExtensionError("the name of a member has other characters than letters, digits, and one of _.$-")
        editable = EditableBody(self.content)
        editable.root.set({name: msgspec.json.encode(value)})
        return replace(self, content=editable.written())


@dataclass(frozen=True, slots=True)
class Response:
    """A response of an extension, instead of one of the provider. Nothing is sent to the provider."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class ResponseHead(HeaderFields):
    """The head of a response, before its first byte goes to the client. Return a changed one from `on_response`."""

    status: int
    by_wirekey: bool = False
    """Whether Wirekey or an extension made the response, such as a refusal, and not the provider."""


@dataclass(frozen=True, slots=True)
class EndedCall(CallInfo):
    """A call that has ended."""

    status: int | None = None
    outcome: str | None = None
    """As in the audit: completed, denied, …"""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    duration_ms: float | None = None
    response_body: bytes | None = field(default=None, repr=False)
    """The bytes that the client got, decompressed, up to 1 MiB. None unless `keeps_response_body` is set."""


class Hooks:
    """The base class of request hooks. Define those methods that you need, each `async` or not.

    Several extensions run in the order of the configuration. Each sees what those before it left.
    """

    time_limit: ClassVar[float] = 5.0
    """Seconds for each method."""
    keeps_response_body: ClassVar[bool] = False
    """Whether `on_end` gets the body of the response. The stream to the client is not delayed."""

    def on_request(self, request: Request) -> RequestResult | Awaitable[RequestResult]:
        """Decide on a request, after its agent is known and before it is recognised and decided by the policy.

        Return None to leave it as it is, a changed Request, a Response, or a Refusal, which becomes an error in the
        provider's own format. After a Response or a Refusal, later extensions are not asked.
        """

    def on_response(self, call: CallInfo, head: ResponseHead) -> HeadResult | Awaitable[HeadResult]:
        """Return None, or the head of a response with changed headers. The response waits for it, but not its body."""

    def on_end(self, call: EndedCall) -> Awaitable[None] | None:
        """Note a call that has ended. Nothing waits for it, and an exception is only logged."""


type RequestResult = Request | Response | Refusal | None
type HeadResult = ResponseHead | None


def check_header(name: Any, value: Any) -> None:
    """Raise ExtensionError unless a header is one that an extension may set on a request or a response."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ExtensionError("a header has an invalid name")
    lower = name.lower()
    if lower in REFUSED_HEADERS or lower.startswith("x-wirekey-") or is_credential_header(lower):
        raise ExtensionError(f"an extension may not set or remove the header {lower}")
    if not isinstance(value, str) or not (value.isascii() and value.isprintable()) or len(value) > MAX_VALUE_LENGTH:
        raise ExtensionError(f"the header {name} has an invalid value")
