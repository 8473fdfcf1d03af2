"""One attempt at a call: where it goes, what it asks for, and whose credential it goes out with.

All of it is made from what the client asked, so that an attempt owes nothing to the one before it.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from wirekey.calls.signatures import make_digest
from wirekey.calls.wire_head import wire_head
from wirekey.credentials.aws import CredentialsUnavailable
from wirekey.credentials.client_supplied import client_supplied_credential, missing
from wirekey.credentials.pool import ProviderKey
from wirekey.credentials.uploads import upload_ids
from wirekey.egress.hosts import bedrock_host, region_of
from wirekey.errors import Fault, Refusal
from wirekey.extension import CallInfo, ExtensionError, Head
from wirekey.providers import PROVIDERS
from wirekey.providers.request_edits import RequestEdits
from wirekey.routing.candidate import Upstream
from wirekey.routing.formats import PROVIDER_HOSTS
from wirekey.routing.model_name import ModelNameError

if TYPE_CHECKING:
    from mitmproxy import http

    from wirekey.call import Call
    from wirekey.calls.services import Services
    from wirekey.calls.settings import Settings
    from wirekey.calls.state import CallState
    from wirekey.extension import Extension
    from wirekey.routing.candidate import Candidate, Limits
    from wirekey.routing.plan import Attempt
    from wirekey.wire.delegate import WireLimits


async def prepare_attempt(services: Services, flow: http.HTTPFlow, choice: Attempt) -> None:
    """Make a call ready to be sent as `choice` says; what an earlier attempt left is gone.

    Changes the state, the call's model, route, credential and upstream, and where the flow is dialled. Raises
    Refusal where there is no such credential, or the request cannot ask for that model; the attempt before then stands.
    """
    state = services.calls.state(flow)
    previous = PreviousAttempt(services, flow) if state.choice else None
    try:
        await prepare(services, flow, choice)
    except Exception:
        if previous:
            previous.restore()
        raise


async def prepare(services: Services, flow: http.HTTPFlow, choice: Attempt) -> None:
    state, candidate = services.calls.state(flow), choice.candidate
    state.choice = choice
    state.key = state.pool = state.aws = None
    state.as_bearer, state.add_credential, state.signature = False, (), b""
    state.call.credential, state.call.route = None, candidate.route
    state.limits = limits_of(services.settings.limits, candidate.limits)
    set_destination(services, flow, state, candidate)
    rewrite(services, flow, state, candidate)
    await choose_credential(services, flow, state, choice)


class PreviousAttempt:
    """The attempt before, for when the next one cannot be made: its answer is what the client gets.

    It may still quote its key, and the record names what was really sent.
    """

    def __init__(self, services: Services, flow: http.HTTPFlow) -> None:
        self.state, self.call, self.data = services.calls.state(flow), services.calls.of(flow), flow.request.data
        self.request = services.calls.request(flow).data
        self.kept = copy(self.state)
        self.record = copy(self.call)
        self.place = self.data.host, self.data.port, self.request.path

    def restore(self) -> None:
        for name in ATTEMPT_FIELDS:
            setattr(self.state, name, getattr(self.kept, name))
        for name in RECORDED:
            setattr(self.call, name, getattr(self.record, name))
        self.data.host, self.data.port, self.request.path = self.place


ATTEMPT_FIELDS = (
    *("choice", "key", "pool", "aws", "as_bearer", "add_credential", "limits", "upstream", "signing_host", "body"),
    *("usage_requested", "signature"),
)
RECORDED = ("credential", "route", "model", "upstream")


def limits_of(general: WireLimits, own: Limits) -> WireLimits | None:
    """Give the limits of an attempt; None: the general ones."""
    said = {name: seconds for name in ("connect", "first_byte", "idle", "total") if (seconds := getattr(own, name))}
    return replace(general, **said) if said else None


def set_destination(services: Services, flow: http.HTTPFlow, state: CallState, candidate: Candidate) -> None:
    """Say where the call is dialled."""
    call = state.call
    host = state.host if candidate.provider == call.provider else PROVIDER_HOSTS[candidate.provider]
    upstream = state.upstream = candidate.upstream or Upstream(host)
    state.signing_host = signing_host(state, upstream, services.settings)
    call.upstream = upstream.host
    # The data record is set, not the property: that would rewrite the Host header, which stays as the client
    # wrote it until the wire.
    flow.request.data.host, flow.request.data.port = upstream.host, upstream.port


def signing_host(state: CallState, upstream: Upstream, settings: Settings) -> str:
    """Give the host of AWS that says for which region and service a signature is made."""
    if region_of(state.host):
        return state.host
    if region_of(upstream.host) or not settings.regions:
        return upstream.host
    return bedrock_host(settings.regions[0])


def rewrite(services: Services, flow: http.HTTPFlow, state: CallState, candidate: Candidate) -> None:
    """Ask for the candidate's model, where it can be asked for; of path and body only what must differ does."""
    call, request, model = state.call, services.calls.request(flow), candidate.model
    assert call.provider
    assert call.operation
    call.model = call.facts.model if call.facts else None
    edits = RequestEdits(
        model.name if model else None,
        model.parameters if model else (),
        # The parameters may ask for more than the policy allows.
        state.cap if model and model.parameters else None,
        include_usage=wants_usage(services, call, candidate),
        provider=candidate.provider,
    )
    content_type = request.headers.get("content-type", "")
    try:
        edited = PROVIDERS[call.provider].edit_request(
            call.operation, state.original_target, content_type, state.original_body, edits
        )
    except ModelNameError as error:
        raise cannot_override(str(model), str(error)) from None
    if edited.model_changed:
        call.model = edits.model
    elif edits.model and call.model not in (None, edits.model):
        raise cannot_override(edits.model, "has no place for it")
    request.data.path, state.body, state.usage_requested = edited.target, edited.body, edited.usage_requested


def wants_usage(services: Services, call: Call, candidate: Candidate) -> bool:
    """Return whether to ask for a stream's token counts: neither its client nor the operator decided otherwise."""
    facts = call.facts
    wanted = services.settings.include_stream_usage if candidate.asks_usage is None else candidate.asks_usage
    return bool(facts and facts.stream and not facts.asks_usage and wanted)


async def choose_credential(services: Services, flow: http.HTTPFlow, state: CallState, choice: Attempt) -> None:
    call, candidate = state.call, choice.candidate
    if call.provider == "gemini" and upload_ids(services.calls.request(flow).path):
        # Its upload_id is the credential; it carries no other.
        call.credential = "upload"
    elif candidate.auth in ("client", "passthrough"):
        use_client_credential(services, state, candidate)
    elif candidate.auth == "none":
        call.credential = f"{candidate.route}/none"
    elif candidate.extension:
        state.add_credential = await from_extension(services, flow, state, candidate.extension)
        call.credential = f"{candidate.route}/extension"
    elif choice.key:
        state.key, state.pool = choice.key, candidate.pool
        call.credential = choice.key.label
    elif candidate.auth == "sigv4" or (candidate.auth == "provider" and candidate.provider == "bedrock"):
        await use_aws_credentials(services, state)
    else:
        raise Refusal(503, "no_provider_key", no_key(candidate), Fault.OPERATOR)
    if state.aws:
        await make_digest(state.body)


async def use_aws_credentials(services: Services, state: CallState) -> None:
    call, aws = state.call, services.settings.aws
    if aws is None:
        raise Refusal(503, "no_provider_key", no_key(None), Fault.OPERATOR)
    try:
        state.aws = aws.current(call.agent) or await aws.fetch(call.agent)
    except CredentialsUnavailable as error:
        raise Refusal(503, "no_provider_key", f"{no_key(None)} {error}", Fault.OPERATOR) from error
    call.credential = "bedrock/aws"


def use_client_credential(services: Services, state: CallState, candidate: Candidate) -> None:
    """Use what the client brought, and nothing of ours. Raises Refusal where it brought nothing."""
    call, provider, mode = state.call, candidate.provider, candidate.auth
    usual = provider == call.provider and services.settings.key_sources.get(provider) == mode
    held = state.client_credential if usual else None
    if held is None and mode == "client":
        held = client_supplied_credential(provider, state.host, state.client_credential_fields, passes=False)
    if held is None:
        raise missing(provider, passes=mode == "passthrough")
    label = call.credential = f"{provider}/{mode}"
    if held.key:
        state.key, state.as_bearer = ProviderKey(label, held.key), held.bearer
    state.aws = held.pair


async def from_extension(
    services: Services, flow: http.HTTPFlow, state: CallState, extension: Extension
) -> tuple[tuple[bytes, bytes], ...]:
    """Ask an extension for headers. Raises Refusal: without them nothing is sent."""
    call = state.call
    request = wire_head(services.calls.request(flow), state)
    fields = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.fields)
    path = request.data.path.decode("latin-1")
    assert state.upstream
    head = Head(request.method, state.upstream.authority, path, fields)
    streamed = not call.reads_body and flow.request.stream
    try:
        return tuple(await extension.headers(call_info(call), head, None if streamed else state.body[:]))
    except ExtensionError as error:
        message = f"The credential of this call could not be made, so it was not sent: {error}."
        raise Refusal(503, "extension_failed", message, Fault.OPERATOR) from error


def call_info(call: Call) -> CallInfo:
    agent, facts = call.agent, call.facts
    return CallInfo(
        id=call.id,
        agent_id=agent.id if agent else None,
        agent_role=agent.role if agent else None,
        agent_type=agent.type if agent else None,
        provider=call.provider or "",
        operation=call.operation.name if call.operation else "",
        requested_model=facts.model if facts else None,
        model=call.model,
        stream=bool(facts and facts.stream),
        route=call.route or "",
    )


def no_key(candidate: Candidate | None) -> str:
    """Say which setting is missing; None: AWS credentials."""
    provider = candidate.provider if candidate else "bedrock"
    if candidate and candidate.auth != "provider":
        return f"Wirekey has no key for {candidate.route}. Its operator sets {candidate.route}.keys in wirekey.yaml."
    return (
        f"Wirekey has no key for {provider}. Its operator sets {PROVIDERS[provider].key_setting} in the environment or "
        f"providers.{provider} in wirekey.yaml."
    )


def cannot_override(name: str, why: str) -> Refusal:
    return Refusal(
        403,
        "cannot_override",
        f"This call is to go to the model {name[:64]!r}, and its request {why}. "
        "The operator corrects it in model_override, in the route or in the policy.",
        Fault.OPERATOR,
    )
