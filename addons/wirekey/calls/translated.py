"""Translation in a call: the request of an attempt in the upstream's format, and the response in the client's."""

from __future__ import annotations

import secrets
import string
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from msgspec import structs

from wirekey.body import SPOOL_ABOVE
from wirekey.call import Outcome
from wirekey.calls.moved import is_moved, moved_attempt, moved_translation
from wirekey.errors import Fault, Refusal
from wirekey.operation import CONVERSATIONS, COUNTS, EMBEDDINGS, TRANSLATED
from wirekey.providers import PROVIDERS
from wirekey.providers.request_head import read_query
from wirekey.translation.betas import flags_of
from wirekey.translation.embeddings import Vectors, translate_embeddings
from wirekey.translation.failures import OWN_CODES, TRUNCATED
from wirekey.translation.neutral import Format
from wirekey.translation.own_format import has_signed_state, without_signed_state
from wirekey.translation.rate_limits import rate_limits
from wirekey.translation.reply import Reply
from wirekey.translation.requests import Options, TranslatedRequest, translate_request
from wirekey.translation.responses import StreamTranslator, content_type, translate_response
from wirekey.translation.token_counts import translate_count
from wirekey.wire.delegate import ResponseRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mitmproxy import http

    from wirekey.body import RequestBody
    from wirekey.call import Call
    from wirekey.calls.attempt_state import AttemptState
    from wirekey.calls.services import Services
    from wirekey.calls.state import CallState
    from wirekey.operation import Facts, Operation
    from wirekey.translation.responses import TranslatedResponse
    from wirekey.translation.state import StateReader

ID_ALPHABET = string.ascii_letters + string.digits
AT_ONCE = 128 * 1024
"""Bytes of a request or response up to which it is translated on the event loop, in two milliseconds at most."""
TOO_LARGE = Refusal(
    502,
    "cannot_translate_answer",
    "The response is larger than limits.translated_answer, so it cannot be translated as a whole. Use a stream.",
    Fault.PROVIDER,
)
DIFFERS = Refusal(
    500,
    "translation_differs",
    "Internal error: the translated request does not ask for what was decided. It was not sent.",
    Fault.WIREKEY,
)
PASSED_HEADERS = ("retry-after", "x-wirekey-request-id", "x-wirekey-simulated", "x-wirekey-model")
REQUEST_IDS = ("x-request-id", "request-id", "x-amzn-requestid")
REQUEST_ID = {
    Format.CHAT: "x-request-id",
    Format.RESPONSES: "x-request-id",
    Format.ANTHROPIC: "request-id",
    Format.CONVERSE: "x-amzn-requestid",
    Format.INVOKE: "x-amzn-requestid",
}


@dataclass(frozen=True, slots=True)
class TranslatedAttempt:
    """The translation of one attempt: what was sent, as the upstream's own operation and facts.

    It holds content, so it is never stored, shown or logged.
    """

    request: TranslatedRequest
    operation: Operation
    facts: Facts
    client: Format
    upstream: Format
    query: str
    states: StateReader

    @property
    def label(self) -> str:
        """Both formats: `openai.chat>anthropic`."""
        return self.request.label or f"{self.client}>{self.upstream}"


def make_id() -> str:
    """Return 24 random letters and digits."""
    return "".join(secrets.choice(ID_ALPHABET) for _ in range(24))


def client_format(state: CallState) -> Format | None:
    """Return the format of a call's conversation, or None if it is no conversation."""
    operation = state.call.operation
    name = CONVERSATIONS.get(operation.name) if operation else None
    return Format(name) if name else None


def body_rewrite(
    services: Services, state: CallState, attempt: AttemptState, request: http.Request
) -> Callable[[], AttemptState] | None:
    """Return what rewrites the body of an attempt for its upstream, or None if the body stays as it is.

    The function needs nothing of the event loop, so a thread may run it. It raises Refusal if the request cannot be
    translated, or the translation asks for anything that was not decided.
    """
    if attempt.planned.candidate.speaks is not None:
        return partial(translate_attempt, state, attempt, translation_options(services, state, attempt, request))
    form = client_format(state)
    moves = is_moved(state, attempt.planned.candidate)
    if form and has_signed_state(attempt.body):
        return partial(without_foreign_state, form, attempt, moved_as=state if moves else None)
    return partial(moved_attempt, state, attempt) if moves else None


def translation_options(
    services: Services, state: CallState, attempt: AttemptState, request: http.Request
) -> tuple[Options, StateReader]:
    """Return the settings of the operator and the client for one translation, and what signs reasoning state."""
    candidate, settings = attempt.planned.candidate, services.settings
    strict = settings.strict_translation if candidate.strict_translation is None else candidate.strict_translation
    options = Options(
        strict=strict or state.refuses_losses,
        allowed=candidate.may_lose,
        max_tokens=settings.translation_max_tokens,
        older_limit=candidate.is_own_server,
        route=candidate.route or "a route",
        betas=flags_of(request.headers.get_all("anthropic-beta")),
    )
    return options, reasoning_states(services, state, attempt)


def translate_attempt(state: CallState, attempt: AttemptState, settings: tuple[Options, StateReader]) -> AttemptState:
    """Return an attempt whose request is in the format of its upstream. Its body is what the client asked, with edits.

    Raises Refusal if the request cannot be translated, or the translation asks for anything that was not decided.
    """
    candidate, call = attempt.planned.candidate, state.call
    assert call.operation
    assert call.facts
    speaks = candidate.speaks or ""
    model = PROVIDERS[candidate.provider].name_in(
        speaks, candidate.model.name if candidate.model else call.facts.model or ""
    )
    options, states = settings
    body = attempt.body
    request = translated_request(call.operation.name, speaks, model, body, states, options, call.facts)
    if PROVIDERS[candidate.provider].rewrites_requests:
        location = attempt.location or ""
        request = moved_translation(candidate.provider, request, model, location, stream=call.facts.stream)
    client, upstream = request.context.client, request.context.upstream
    operation, facts = read_again(candidate.provider, request, call.facts, model, state.cap)
    query = attempt.target.partition(b"?")[2].decode("latin-1")
    target = request.path + (f"?{request.query}" if request.query else "")
    return structs.replace(
        attempt,
        model=model,
        target=(attempt.upstream.path + target).encode(),
        body=kept_like(body, request.body),
        usage_requested=False,
        translated=TranslatedAttempt(without_content(request), operation, facts, client, upstream, query, states),
    )


def translated_request(  # noqa: PLR0917  # what is asked, of whom, and how
    operation: str,
    speaks: str,
    model: str,
    body: RequestBody,
    states: StateReader,
    options: Options,
    facts: Facts,
) -> TranslatedRequest:
    """Return the request of an operation in the format of its upstream. Raises Refusal if it cannot be translated."""
    if operation in EMBEDDINGS:
        return translate_embeddings(Vectors(EMBEDDINGS[operation]), Vectors(speaks), model, body, options)
    client, upstream = Format(TRANSLATED[operation]), Format(speaks)
    if operation in COUNTS:
        return translate_count(client, upstream, model, body, states, options)
    return translate_request(client, upstream, model, body, states, options, stream=facts.stream)


def kept_like(original: RequestBody, data: RequestBody) -> RequestBody:
    """Return the bytes of a rewritten body: in memory, or in a file if the original is in one and they are large."""
    if isinstance(original, bytes) or not isinstance(data, bytes) or len(data) <= SPOOL_ABOVE:
        return data
    original.release_pages()
    return original.joined([data])


def reasoning_states(services: Services, state: CallState, attempt: AttemptState) -> StateReader:
    """Return what signs and verifies reasoning state of the call's agent, with the key that an attempt is sent with."""
    key, agent = attempt.planned.key, state.call.agent
    return replace(
        services.reasoning_states,
        carries=services.settings.carries_reasoning_state,
        credential=key.label if key else "",
        agent=agent.id if agent else None,
    )


def record_translation(call: Call, translated: TranslatedAttempt | None) -> None:
    """Note in a call's event what the translation of its attempt lost, by name."""
    call.translation = call.adjusted = call.dropped = None
    call.losses = ()
    if translated:
        losses = translated.request.context.losses
        headers = losses.headers()
        call.translation, call.losses = translated.label, losses.pairs()
        call.adjusted, call.dropped = headers.get("x-wirekey-adjusted"), headers.get("x-wirekey-dropped")


def read_again(
    provider: str, request: TranslatedRequest, decided: Facts, model: str, cap: int | None
) -> tuple[Operation, Facts]:
    """Return the upstream provider's own reading of a translated request.

    Raises Refusal(500) if it asks for another model, for a stream or not, for a tool that was not decided on, or for
    more tokens than the policy allows.
    """
    upstream = PROVIDERS[provider]
    operation = upstream.match_operation("POST", request.path, dict(request.headers))
    if operation is None:
        raise DIFFERS
    facts = upstream.read_request(operation, read_query(request.query), "application/json", request.body)
    names = {request.context.tool_names.incoming(name) for name in facts.tools}
    if (
        facts.model != model
        or facts.stream != decided.stream
        or not names <= {*decided.tools, *called_tools(request)}
        or (cap is not None and request.respond is None and (facts.max_tokens is None or facts.max_tokens > cap))
    ):
        raise DIFFERS
    return operation, facts


def without_content(request: TranslatedRequest) -> TranslatedRequest:
    """Return what the response needs of a translated request, so that no content is held until the response ends."""
    return replace(request, body=b"", conversation=structs.replace(request.conversation, system=(), turns=()))


def called_tools(request: TranslatedRequest) -> set[str]:
    """Return the tools that the history of a request calls: a request without tools declares them."""
    from wirekey.translation.turns import call_names

    return set(call_names(request.conversation.turns).values())


def without_foreign_state(form: Format, attempt: AttemptState, moved_as: CallState | None = None) -> AttemptState:
    """Return an attempt that keeps its format, without the signed state of other providers in its body.

    `moved_as`: the call, if its request is also moved to where its provider wants it.
    """
    body = kept_like(attempt.body, without_signed_state(form, attempt.body, attempt.model or ""))
    attempt = structs.replace(attempt, body=body)
    return moved_attempt(moved_as, attempt) if moved_as else attempt


def failed_stream(state: CallState) -> tuple[Outcome, str | None] | None:
    """Return the outcome and the reason of a stream that its client saw end with an error, or None for another.

    The provider's own bytes may have been a success, such as one with an event that nobody can read.
    """
    translation = state.tap.translation if state.tap else None
    failure = translation.stream.failure if translation and translation.stream else None
    if failure is None:
        return None
    outcome = Outcome.TRUNCATED if failure == TRUNCATED else Outcome.UPSTREAM_ERROR
    return outcome, failure.code if failure.code in OWN_CODES else None


def translated_fields(attempt: AttemptState, fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the header fields of a translated request: of the client's own only Host and User-Agent remain."""
    assert attempt.translated
    kept = [(name, value) for name, value in fields if name.lower() in {b"host", b"user-agent"}]
    own = {**attempt.translated.request.headers, "accept-encoding": "identity"}
    return [*kept, *((name.encode(), value.encode()) for name, value in own.items())]


class ResponseTranslation:
    """The last step of a response before the client: it gets the upstream's bytes and returns the client's.

    A stream is translated as it passes. Another response, and an error, is translated as a whole: until then the client
    has no head, because the status may depend on the body. `limit` is `limits.translated_answer`, in bytes.
    """

    def __init__(self, state: CallState, response: http.Response, limit: int) -> None:
        assert state.attempt
        assert state.attempt.translated
        found = state.attempt.translated
        self.state = state
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
        self.is_stream = found.request.conversation.stream and response.status_code < 300
        self.stream = StreamTranslator(self.reply) if self.is_stream else None
        self.held = bytearray()
        self.whole: TranslatedResponse | None = None
        self.upstream_headers = {name.lower(): value for name, value in response.headers.items()}
        self.set_head(content_type(found.client, found.query) if self.is_stream else "application/json")

    def set_head(self, kind: str) -> None:
        """Replace the head of the response: nothing of the upstream's passes but what the client's format knows."""
        headers = self.response.headers
        own = {name: headers[name] for name in PASSED_HEADERS if name in headers}
        identifier = next((headers[name] for name in REQUEST_IDS if name in headers), None)
        framing = {name: headers[name] for name in ("transfer-encoding",) if name in headers}
        headers.fields = ()
        headers["content-type"] = kind
        if identifier and (name := REQUEST_ID.get(self.translated.client)):
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

    def translate(self, rest: Iterable[bytes] = ()) -> None:
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
            self.translate()
        self.held.clear()
        found, self.whole = self.whole, None
        assert found
        self.response.status_code = self.state.call.status = found.status
        self.response.data.reason = b""
        losses = self.translated.request.context.losses
        for name, value in {**found.headers, **losses.headers()}.items():
            self.response.headers[name] = value
        record_translation(self.state.call, self.translated)
        self.response.headers.pop("transfer-encoding", None)
        self.response.headers["content-length"] = str(len(found.body))
        return [found.body]
