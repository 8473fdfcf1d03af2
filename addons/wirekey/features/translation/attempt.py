"""Translation of the request of an attempt: into the upstream's format, or without the signed state of others."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from msgspec import structs

from wirekey.core.body import SPOOL_ABOVE
from wirekey.core.calls.moved import moved_request
from wirekey.core.errors import Fault, Refusal
from wirekey.features.translation.attempt_response import TranslatedAttempt
from wirekey.features.translation.betas import flags_of
from wirekey.features.translation.config import TranslationOfRoute
from wirekey.features.translation.embeddings import VECTORS, translate_embeddings
from wirekey.features.translation.formats import FORMATS, format_of
from wirekey.features.translation.own_format import has_signed_state, without_signed_state
from wirekey.features.translation.requests import Options, translate_request
from wirekey.features.translation.settings import DEFAULTS, LOSSES_HEADER, TranslationSettings
from wirekey.features.translation.state import StateReader
from wirekey.features.translation.token_counts import translate_count
from wirekey.features.translation.turns import call_names
from wirekey.providers.formats import CONVERSATIONS, COUNTS, EMBEDDINGS, TRANSLATED
from wirekey.providers.registry import PROVIDERS
from wirekey.providers.request_head import read_query

if TYPE_CHECKING:
    from mitmproxy import http

    from wirekey.core.body import RequestBody
    from wirekey.core.calls.attempt_rewrite import Step
    from wirekey.core.calls.attempt_state import AttemptState
    from wirekey.core.calls.services import Services
    from wirekey.core.calls.state import CallState
    from wirekey.core.operation import Facts, Operation
    from wirekey.features.translation.format import TranslatedFormat
    from wirekey.features.translation.requests import TranslatedRequest

DIFFERS = Refusal(
    500,
    "translation_differs",
    "Internal error: the translated request does not ask for what was decided. It was not sent.",
    Fault.WIREKEY,
)
NOT_SET = TranslationOfRoute().translation


class AttemptTranslation:
    """Finds what is to be done to the request of an attempt."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def find(self, state: CallState, attempt: AttemptState, request: http.Request) -> Step | None:
        """Return the step for an attempt, or None if its request stays as it is.

        The step raises Refusal if the request cannot be translated, or the translation asks for anything that was not
        decided.
        """
        if attempt.planned.candidate.speaks is not None:
            options, states = self.options(state, attempt, request), self.states(state, attempt)
            return partial(translate_attempt, state, options, states)
        form = client_format(state)
        return partial(without_foreign_state, form) if form and has_signed_state(form, attempt.body) else None

    def options(self, state: CallState, attempt: AttemptState, request: http.Request) -> Options:
        """Return the settings of the operator and the client for one translation."""
        candidate, settings = attempt.planned.candidate, self.settings
        of_route = candidate.features.find(TranslationOfRoute)
        own = of_route.translation if of_route else NOT_SET
        strict = settings.strict if own.losses is None else own.losses == "refuse"
        return Options(
            strict=strict or state.options.get(LOSSES_HEADER) == "refuse",
            allowed=frozenset(own.drop),
            max_tokens=settings.max_tokens,
            older_limit=candidate.is_own_server,
            route=candidate.route or "a route",
            betas=flags_of(request.headers.get_all("anthropic-beta")),
        )

    def states(self, state: CallState, attempt: AttemptState) -> StateReader:
        """Return what signs and verifies reasoning state of the call's agent, with the key of an attempt."""
        key, agent = attempt.planned.key, state.call.agent
        reader = self.services.opened.find(StateReader)
        assert reader
        return replace(
            reader,
            carries=self.settings.carries_reasoning_state,
            credential=key.label if key else "",
            agent=agent.id if agent else None,
        )

    @property
    def settings(self) -> TranslationSettings:
        """The settings in force."""
        return self.services.settings.features.find(TranslationSettings) or DEFAULTS


def client_format(state: CallState) -> TranslatedFormat | None:
    """Return the format of a call's conversation, or None if it is no conversation."""
    operation = state.call.operation
    name = CONVERSATIONS.get(operation.name) if operation else None
    return FORMATS[name] if name else None


def translate_attempt(state: CallState, options: Options, states: StateReader, attempt: AttemptState) -> AttemptState:
    """Return an attempt whose request is in the format of its upstream. Its body is what the client asked, with edits.

    Raises Refusal if the request cannot be translated, or the translation asks for anything that was not decided.
    """
    candidate, call = attempt.planned.candidate, state.call
    assert call.operation
    assert call.facts
    speaks = candidate.speaks or ""
    model = PROVIDERS[candidate.provider].formats.name_in(
        speaks, candidate.model.name if candidate.model else call.facts.model or ""
    )
    body = attempt.body
    request = translated_request(call.operation.name, speaks, model, body, states, options, call.facts)
    if PROVIDERS[candidate.provider].formats.rewriting is not None:
        request = moved(request, candidate.provider, attempt.location or "", model, stream=call.facts.stream)
    client, upstream = format_of(request.context.client), format_of(request.context.upstream)
    operation, facts = read_again(candidate.provider, request, call.facts, model, state.cap)
    query = attempt.target.partition(b"?")[2].decode("latin-1")
    return structs.replace(
        attempt,
        model=model,
        target=(attempt.upstream.path + target_of(request)).encode(),
        body=kept_like(body, request.body),
        usage_requested=False,
        rewritten=TranslatedAttempt(without_content(request), operation, facts, client, upstream, query, states),
    )


def target_of(request: TranslatedRequest) -> str:
    """Return path and query of a translated request."""
    return request.path + (f"?{request.query}" if request.query else "")


def moved(request: TranslatedRequest, provider: str, location: str, model: str, *, stream: bool) -> TranslatedRequest:
    """Return a translated request as its provider wants it. Raises Refusal if it cannot stand there."""
    form = request.context.upstream.name
    target, body = moved_request(provider, location, form, target_of(request), request.body, model, stream=stream)
    path, _, query = target.partition("?")
    return replace(request, path=path, query=query, body=body)


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
        return translate_embeddings(VECTORS[EMBEDDINGS[operation]], VECTORS[speaks], model, body, options)
    client, upstream = FORMATS[TRANSLATED[operation]], FORMATS[speaks]
    if operation in COUNTS:
        return translate_count(client, upstream, model, body, states, options)
    return translate_request(client, upstream, model, body, states, options, stream=facts.stream)


def kept_like(original: RequestBody, data: RequestBody) -> RequestBody:
    """Return the bytes of a rewritten body: in memory, or in a file if the original is in one and they are large."""
    if isinstance(original, bytes) or not isinstance(data, bytes) or len(data) <= SPOOL_ABOVE:
        return data
    original.release_pages()
    return original.joined([data])


def read_again(
    provider: str, request: TranslatedRequest, decided: Facts, model: str, cap: int | None
) -> tuple[Operation, Facts]:
    """Return the upstream provider's own reading of a translated request.

    Raises Refusal(500) if it asks for another model, for a stream or not, for a tool that was not decided on, or for
    more tokens than the policy allows.
    """
    upstream = PROVIDERS[provider]
    operation = upstream.operations.match_operation("POST", request.path, dict(request.headers))
    if operation is None:
        raise DIFFERS
    facts = upstream.operations.read_request(operation, read_query(request.query), "application/json", request.body)
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
    return set(call_names(request.conversation.turns).values())


def without_foreign_state(form: TranslatedFormat, attempt: AttemptState) -> AttemptState:
    """Return an attempt that keeps its format, without the signed state of other providers in its body."""
    body = kept_like(attempt.body, without_signed_state(form, attempt.body, attempt.model or ""))
    return structs.replace(attempt, body=body)
