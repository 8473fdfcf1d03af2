"""A translated request as it was sent, and its response in the client's format."""

from __future__ import annotations

import secrets
import string
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.core.call import Outcome
from wirekey.core.errors import Fault, Refusal
from wirekey.core.wire.delegate import ResponseRefused
from wirekey.features.translation.failures import OWN_CODES, TRUNCATED
from wirekey.features.translation.rate_limits import rate_limits
from wirekey.features.translation.reply import Reply
from wirekey.features.translation.responses import StreamTranslator, translate_response

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mitmproxy import http

    from wirekey.core.call import Call
    from wirekey.core.operation import Facts, Operation
    from wirekey.features.translation.format import TranslatedFormat
    from wirekey.features.translation.requests import TranslatedRequest
    from wirekey.features.translation.responses import TranslatedResponse
    from wirekey.features.translation.state import StateReader

ID_ALPHABET = string.ascii_letters + string.digits
TOO_LARGE = Refusal(
    502,
    "cannot_translate_answer",
    "The response is larger than limits.translated_response, so it cannot be translated as a whole. Use a stream.",
    Fault.PROVIDER,
)
PASSED_HEADERS = ("retry-after", "x-wirekey-request-id", "x-wirekey-simulated", "x-wirekey-model")
REQUEST_IDS = ("x-request-id", "request-id", "x-amzn-requestid")


def make_id() -> str:
    """Return 24 random letters and digits."""
    return "".join(secrets.choice(ID_ALPHABET) for _ in range(24))


@dataclass(frozen=True, slots=True)
class TranslatedAttempt:
    """The translation of one attempt: what was sent, as the upstream's own operation and facts.

    It holds content, so it is never stored, shown or logged.
    """

    request: TranslatedRequest
    operation: Operation
    facts: Facts
    client: TranslatedFormat
    upstream: TranslatedFormat
    query: str
    states: StateReader

    @property
    def label(self) -> str:
        """Both formats: `openai.chat>anthropic`."""
        return self.request.label or f"{self.client}>{self.upstream}"

    def fields(self, fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Return the header fields of the translated request: of the client's own only Host and User-Agent remain."""
        kept = [(name, value) for name, value in fields if name.lower() in {b"host", b"user-agent"}]
        own = {**self.request.headers, "accept-encoding": "identity"}
        return [*kept, *((name.encode(), value.encode()) for name, value in own.items())]

    def record(self, call: Call) -> None:
        """Note in a call's event what the translation lost, by name."""
        losses = self.request.context.losses
        headers = losses.headers()
        call.translation, call.losses = self.label, losses.pairs()
        call.adjusted, call.dropped = headers.get("x-wirekey-adjusted"), headers.get("x-wirekey-dropped")

    def response(self, call: Call, response: http.Response, limit: int) -> ResponseTranslation:
        """Return what translates the response, after it has replaced the head."""
        return ResponseTranslation(self, call, response, limit)


class ResponseTranslation:
    """The last step of a response before the client: it gets the upstream's bytes and returns the client's.

    A stream is translated as it passes. Another response, and an error, is translated as a whole: until then the client
    has no head, because the status may depend on the body. `limit` is `limits.translated_response`, in bytes.
    """

    def __init__(self, found: TranslatedAttempt, call: Call, response: http.Response, limit: int) -> None:
        self.call = call
        self.response = response
        self.reply = Reply(
            found.request.context,
            found.request.conversation,
            found.states,
            int(time.time()),
            make_id,
            found.query,
            limit,
        )
        self.limit = limit
        self.translated = found
        self.holds = not (found.request.conversation.stream and response.status_code < 300)
        self.stream = None if self.holds else StreamTranslator(self.reply)
        self.held = bytearray()
        self.whole: TranslatedResponse | None = None
        self.upstream_headers = {name.lower(): value for name, value in response.headers.items()}
        self.set_head("application/json" if self.holds else found.client.stream_type(found.query))

    def set_head(self, kind: str) -> None:
        """Replace the head of the response: nothing of the upstream's passes but what the client's format knows."""
        headers = self.response.headers
        own = {name: headers[name] for name in PASSED_HEADERS if name in headers}
        identifier = next((headers[name] for name in REQUEST_IDS if name in headers), None)
        framing = {name: headers[name] for name in ("transfer-encoding",) if name in headers}
        headers.fields = ()
        headers["content-type"] = kind
        if identifier and (name := self.translated.client.wire.request_id):
            headers[name] = identifier
        headers.update({**own, **framing, "x-wirekey-translation": self.translated.label})
        headers.update(
            rate_limits(self.translated.upstream, self.translated.client, self.upstream_headers, time.time())
        )
        headers.update(self.translated.request.context.losses.headers())

    def feed(self, data: bytes) -> list[bytes]:
        """Return the client's bytes for the next bytes of the upstream. Raises ResponseRefused."""
        if self.stream:
            out = self.stream.feed(data)
            return [out] if out else []
        self.held += data
        if len(self.held) > self.limit:
            raise ResponseRefused(TOO_LARGE)
        return []

    def finish(self, rest: Iterable[bytes] = ()) -> None:
        """Translate a whole response, of which `rest` was not fed yet.

        It needs nothing of the event loop, so a thread may do it before the end.
        """
        respond = self.translated.request.respond or translate_response
        body = b"".join((self.held, *rest))
        self.whole = respond(self.response.status_code, body, self.reply, self.upstream_headers)

    def end(self) -> list[bytes]:
        """Return the client's last bytes: of a whole response all of them, after its head was set."""
        if self.stream:
            out = self.stream.end()
            return [out] if out else []
        if self.whole is None:
            self.finish()
        self.held.clear()
        found, self.whole = self.whole, None
        assert found
        self.response.status_code = self.call.status = found.status
        self.response.data.reason = b""
        losses = self.translated.request.context.losses
        for name, value in {**found.headers, **losses.headers()}.items():
            self.response.headers[name] = value
        self.translated.record(self.call)
        self.response.headers.pop("transfer-encoding", None)
        self.response.headers["content-length"] = str(len(found.body))
        return [found.body]

    def failure(self) -> tuple[Outcome, str | None] | None:
        """Return the outcome and the reason of a stream that ended with an error; None for any other."""
        failure = self.stream.failure if self.stream else None
        if failure is None:
            return None
        outcome = Outcome.TRUNCATED if failure == TRUNCATED else Outcome.UPSTREAM_ERROR
        return outcome, failure.code if failure.code in OWN_CODES else None
