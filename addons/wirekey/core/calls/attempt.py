"""Preparing one attempt at a call: where it goes, which model it asks for, and whose credential it goes out with.

Each attempt is made from what the client sent, never from the attempt before it.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from msgspec import structs

from wirekey.core.calls.attempt_rewrite import AT_ONCE, body_rewrite, record_rewrite
from wirekey.core.calls.attempt_state import AttemptState
from wirekey.core.calls.conversations import NOT_SIGNED, is_two_way
from wirekey.core.calls.moved import is_moved, own_target, provider_host
from wirekey.core.calls.upstream_signatures import make_digest
from wirekey.core.calls.wire_head import wire_head
from wirekey.core.credentials.aws import CredentialsUnavailable
from wirekey.core.credentials.client_supplied import client_supplied_credential, missing_credential
from wirekey.core.credentials.pool import ProviderKey
from wirekey.core.credentials.uploads import upload_ids
from wirekey.core.egress.hosts import RUNTIME, bedrock_host, bedrock_hosts, region_of
from wirekey.core.errors import Fault, Refusal
from wirekey.core.model_name import ModelNameError
from wirekey.core.routing.candidate import Upstream
from wirekey.providers.registry import PROVIDERS, answered_as
from wirekey.providers.request_edits import RequestEdits
from wirekey.providers.request_head import read_query

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mitmproxy import http

    from wirekey.config.operator_functions import CredentialMaker
    from wirekey.core.call import Call
    from wirekey.core.calls.calls import Calls
    from wirekey.core.calls.services import Services
    from wirekey.core.calls.settings import Settings
    from wirekey.core.calls.state import CallState
    from wirekey.core.routing.candidate import Candidate, Limits
    from wirekey.core.routing.plan import Attempt
    from wirekey.core.wire.delegate import WireLimits


def prepare_attempt(services: Services, flow: http.HTTPFlow, planned: Attempt) -> Awaitable[None] | None:
    """Prepare a planned attempt, and make it the attempt of the call.

    Return None, or what remains to be awaited if its credential must be fetched or made.

    Raises Refusal if there is no credential for it, or the request cannot ask for its model. The previous attempt then
    stands: its response is what the client gets.
    """
    state = services.calls.state(flow)
    attempt = new_attempt(services, state, planned)
    try:
        request = services.calls.request(flow)
        for steps in attempt.steps:
            attempt = steps.begin(services.settings, state, attempt, request)
        attempt = rewrite_request(services, state, attempt, request)
        if rewrite := body_rewrite(services.rewrites, state, attempt, request):
            if len(attempt.body) > AT_ONCE:
                return rewrite_and_prepare(services, flow, attempt, rewrite)
            attempt = rewrite()
        ready = with_ready_credential(services, state, attempt)
    except Exception:
        record_refused(state, attempt)
        raise
    if ready is None:
        return prepare_later(services, flow, attempt)
    use_attempt(services.calls, flow, ready)
    return None


async def rewrite_and_prepare(
    services: Services, flow: http.HTTPFlow, attempt: AttemptState, rewrite: Callable[[], AttemptState]
) -> None:
    """Prepare an attempt whose body is large and must be rewritten. Raises Refusal as `prepare_attempt` does.

    A thread rewrites it, so that other calls continue. One body is rewritten at a time, as that needs several times the
    memory of the body.
    """
    state = services.calls.state(flow)
    try:
        async with services.one_rewrite:
            attempt = await asyncio.to_thread(rewrite)
        ready = with_ready_credential(services, state, attempt) or await with_credential(services, flow, attempt)
    except Exception:
        record_refused(state, attempt)
        raise
    use_attempt(services.calls, flow, ready)


async def prepare_later(services: Services, flow: http.HTTPFlow, attempt: AttemptState) -> None:
    """Prepare an attempt whose credential must be fetched or made. Raises Refusal as `prepare_attempt` does."""
    try:
        attempt = await with_credential(services, flow, attempt)
    except Exception:
        record_refused(services.calls.state(flow), attempt)
        raise
    use_attempt(services.calls, flow, attempt)


def record_refused(state: CallState, attempt: AttemptState) -> None:
    """Record what is known of a first attempt that cannot be made. The refusal is recorded with it."""
    if state.attempt is None:
        record_attempt(state.call, attempt)


def use_attempt(calls: Calls, flow: http.HTTPFlow, attempt: AttemptState) -> None:
    """Make an attempt the current one of its call: in the state, the event, and the flow, which has host and port."""
    state = calls.state(flow)
    state.attempt = attempt
    record_attempt(state.call, attempt)
    calls.request(flow).data.path = attempt.target
    # The data is set, not the property, which would rewrite the Host header: that stays as the client sent it.
    flow.request.data.host, flow.request.data.port = attempt.upstream.host, attempt.upstream.port
    flow.request.data.scheme = b"https" if attempt.upstream.tls else b"http"


def record_attempt(call: Call, attempt: AttemptState) -> None:
    """Note in a call's event what an attempt sends, and where."""
    call.route, call.upstream = attempt.route, attempt.planned.candidate.backend or attempt.upstream.host
    call.model, call.credential = attempt.model, attempt.credential
    call.upstream_provider = attempt.planned.candidate.provider
    call.is_billed = attempt.planned.candidate.is_billed
    record_rewrite(call, attempt.rewritten)


# The destination.


def new_attempt(services: Services, state: CallState, planned: Attempt) -> AttemptState:
    """Return an attempt with its destination, and with the request as the client sent it."""
    call, candidate, settings = state.call, planned.candidate, services.settings
    host = provider_host(settings, state, candidate)
    if candidate.region:
        host = in_region(host, candidate.region)
    upstream = candidate.upstream or Upstream(host, path=PROVIDERS[candidate.provider].hosts.path_prefix)
    return AttemptState(
        planned,
        upstream,
        limits_of(settings.limits, candidate.limits),
        model=call.facts.model if call.facts else None,
        target=own_target(state, candidate),
        body=state.body,
        location=PROVIDERS[candidate.provider].location_of(host),
        signing_host=host if candidate.region else signing_host(state, upstream, settings),
        steps=tuple(steps for steps in services.attempt_steps if steps.applies(candidate)),
    )


def limits_of(general: WireLimits, own: Limits) -> WireLimits | None:
    """Return the limits of an attempt; None if its route sets none."""
    own_seconds = {
        name: seconds for name in ("connect", "first_byte", "idle", "total") if (seconds := getattr(own, name))
    }
    return replace(general, **own_seconds) if own_seconds else None


def in_region(host: str, region: str) -> str:
    """Return the host of the same service of AWS in another region."""
    called = region_of(host)
    service = called.service if called else RUNTIME
    return next(name for name, found in bedrock_hosts(region).items() if found.service == service)


def signing_host(state: CallState, upstream: Upstream, settings: Settings) -> str:
    """Return the AWS host that names the region and service of a signature."""
    if region_of(state.host):
        return state.host
    if region_of(upstream.host) or not settings.regions:
        return upstream.host
    return bedrock_host(settings.regions[0])


# The request.


def rewrite_request(services: Services, state: CallState, attempt: AttemptState, request: http.Request) -> AttemptState:
    """Ask for the model of the candidate; only what must differ in path and body does.

    The body of an attempt that is translated stays in the client's format here. Raises Refusal if the request names
    another model and has no place for this one.
    """
    call, candidate = state.call, attempt.planned.candidate
    model = candidate.model
    assert call.provider
    assert call.operation
    provider = PROVIDERS[candidate.provider]
    translates, moves = candidate.speaks is not None, is_moved(state, candidate)
    edits = RequestEdits(
        model.name if model and not translates else None,
        model.parameters if model else (),
        # The parameters may ask for more than the policy allows.
        state.cap if model and model.parameters else None,
        clamp_temperature=is_clamped(services.settings, model.name if model else attempt.model),
        include_usage=not translates and wants_usage(services.settings, call, candidate),
        provider=call.provider if translates or moves else answered_as(call.provider, candidate.provider),
        google_reads=provider.formats.serves_google_models or (moves and provider.locations is not None),
    )
    content_type = request.headers.get("content-type", "")
    if candidate.provider != call.provider and not translates:
        query = read_query(attempt.target.decode("latin-1").partition("?")[2])
        PROVIDERS[candidate.provider].operations.check_head(call.operation, query, request.headers)
    try:
        edited = PROVIDERS[call.provider].operations.edit_request(
            call.operation, attempt.target, content_type, attempt.body, edits
        )
    except ModelNameError as error:
        raise cannot_override(str(model), str(error)) from None
    if translates:
        return structs.replace(attempt, body=edited.body)
    if edits.model and not edited.model_changed and attempt.model not in (None, edits.model):
        raise cannot_override(edits.model, "has no place for it")
    target = attempt.upstream.path.encode() + edited.target if attempt.upstream.path else edited.target
    body = edited.body
    if not (edited.model_changed or edited.usage_requested) and body is attempt.body:
        return attempt if target == attempt.target else structs.replace(attempt, target=target)
    return structs.replace(
        attempt,
        model=edits.model if edited.model_changed else attempt.model,
        target=target,
        body=body,
        usage_requested=edited.usage_requested,
    )


def is_clamped(settings: Settings, model: str | None) -> bool:
    """Return whether a model accepts a temperature of at most 1, as the operator says."""
    clamped = settings.clamped_models
    return clamped is not None and model is not None and clamped.match(model) is not None


def wants_usage(settings: Settings, call: Call, candidate: Candidate) -> bool:
    """Return whether to ask for a stream's token counts: neither its client nor the operator decided otherwise."""
    facts = call.facts
    wanted = settings.include_stream_usage if candidate.asks_usage is None else candidate.asks_usage
    return bool(facts and facts.stream and not facts.asks_usage and wanted)


# The credential.


def with_ready_credential(services: Services, state: CallState, attempt: AttemptState) -> AttemptState | None:
    """Choose the credential of an attempt. Return None if it must be fetched or made, or a large body be hashed.

    Raises Refusal if no credential is available.
    """
    candidate = attempt.planned.candidate
    assert state.call.provider
    if any(steps.makes_credential(services.settings, attempt) for steps in attempt.steps):
        return None
    if PROVIDERS[state.call.provider].credentials.has_upload_ids and upload_ids(
        attempt.target.decode("utf-8", "surrogateescape")
    ):
        # The upload_id is the credential; the request carries no other.
        return structs.replace(attempt, credential="upload")
    if candidate.auth in ("client", "passthrough"):
        supplied = with_client_credential(services, state, attempt)
        return None if supplied.aws and not isinstance(attempt.body, bytes) else supplied
    if candidate.auth == "none":
        return structs.replace(attempt, credential=f"{candidate.route or candidate.provider}/none")
    if candidate.maker:
        return None
    two_way = is_two_way(state.call.operation)
    if (key := attempt.planned.key) and not two_way:
        return structs.replace(attempt, key=key, pool=candidate.pool, credential=key.label)
    if candidate.auth == "sigv4" or (
        candidate.auth == "provider" and PROVIDERS[candidate.provider].credentials.uses_aws
    ):
        aws = candidate.aws or services.settings.aws
        pair = aws.current(state.call.agent) if aws and isinstance(attempt.body, bytes) else None
        return structs.replace(attempt, aws=pair, credential="bedrock/aws") if pair else None
    raise NOT_SIGNED if two_way else Refusal(503, "no_provider_key", no_key(candidate), Fault.OPERATOR)


async def with_credential(services: Services, flow: http.HTTPFlow, attempt: AttemptState) -> AttemptState:
    """Fetch or make the credential of an attempt that has no ready one. Raises Refusal if that fails."""
    state, candidate = services.calls.state(flow), attempt.planned.candidate
    for steps in attempt.steps:
        if steps.makes_credential(services.settings, attempt):
            return await steps.with_credential(services.settings, state.call, attempt)
    if candidate.maker:
        headers = await made_headers(services, flow, attempt, candidate.maker)
        return structs.replace(
            attempt, added_headers=headers, credential=f"{candidate.route or candidate.provider}/extension"
        )
    if candidate.auth in ("client", "passthrough"):
        attempt = with_client_credential(services, state, attempt)
    else:
        attempt = await with_aws_credentials(services, state, attempt)
    await make_digest(attempt.body)
    return attempt


async def with_aws_credentials(services: Services, state: CallState, attempt: AttemptState) -> AttemptState:
    """Use Wirekey's own AWS credentials. Raises Refusal if they cannot be had."""
    aws, agent = attempt.planned.candidate.aws or services.settings.aws, state.call.agent
    if aws is None and is_two_way(state.call.operation):
        raise NOT_SIGNED
    if aws is None:
        raise Refusal(503, "no_provider_key", no_key(None), Fault.OPERATOR)
    try:
        credentials = aws.current(agent) or await aws.fetch(agent)
    except CredentialsUnavailable as error:
        raise Refusal(503, "no_provider_key", f"{no_key(None)} {error}", Fault.OPERATOR) from error
    return structs.replace(attempt, aws=credentials, credential="bedrock/aws")


def with_client_credential(services: Services, state: CallState, attempt: AttemptState) -> AttemptState:
    """Use the credential that the client supplied, and none of ours. Raises Refusal if it supplied none."""
    candidate = attempt.planned.candidate
    provider, mode = candidate.provider, candidate.auth
    usual = provider == state.call.provider and services.settings.key_sources.get(provider) == mode
    supplied = state.client_credential if usual else None
    if supplied is None and mode == "client":
        supplied = client_supplied_credential(provider, state.host, state.client_credential_fields, passthrough=False)
    label = f"{provider}/{mode}"
    if (
        supplied is None
        and state.call.operation
        and state.call.operation.name in PROVIDERS[provider].credentials.keyless
    ):
        return structs.replace(attempt, credential=label)
    if supplied is None:
        raise missing_credential(provider, passthrough=mode == "passthrough")
    key = ProviderKey(label, supplied.key) if supplied.key else None
    as_bearer = supplied.bearer if key else False
    return structs.replace(attempt, credential=label, key=key, as_bearer=as_bearer, aws=supplied.pair)


async def made_headers(
    services: Services, flow: http.HTTPFlow, attempt: AttemptState, maker: CredentialMaker
) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers that a function makes. Raises Refusal if it fails: nothing is sent without them."""
    call = services.calls.of(flow)
    request = wire_head(services.calls.request(flow), attempt, reads_body=call.reads_body)
    streamed = not call.reads_body and flow.request.stream
    body = None if streamed else attempt.body[:]
    return await maker.headers(
        call, request, body, authority=attempt.upstream.authority, model=attempt.model, route=attempt.route
    )


# Messages to the client.


def no_key(candidate: Candidate | None) -> str:
    """Return a message that names the missing setting: of the candidate, or of AWS credentials if it is None."""
    provider = candidate.provider if candidate else "bedrock"
    if candidate and candidate.auth != "provider":
        return f"Wirekey has no key for {candidate.route}. Its operator sets {candidate.route}.keys in wirekey.yaml."
    variable, setting = PROVIDERS[provider].credentials.setting, PROVIDERS[provider].setting
    places = f"{variable} in the environment or" if variable else "its keys in"
    return f"Wirekey has no key for {provider}. Its operator sets {places} {setting} in wirekey.yaml."


def cannot_override(name: str, why: str) -> Refusal:
    """Return the refusal of a call whose request cannot ask for a model. `why`: what the request lacks."""
    return Refusal(
        403,
        "cannot_override",
        f"This call is to go to the model {name[:64]!r}, and its request {why}. "
        "The operator corrects it in model_override, in the route or in the policy.",
        Fault.OPERATOR,
    )
