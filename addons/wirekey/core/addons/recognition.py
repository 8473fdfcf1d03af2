"""Recognises the operation of a call, its model and counts. Nothing of the content is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wirekey.core.addons.base import Addon
from wirekey.core.body import READ_AS_JSON, WEBSOCKETS, Body
from wirekey.core.body_reading.reading import ReadTask, check_values, is_costly
from wirekey.core.calls.agent_check import OPEN_FOR_LONG
from wirekey.core.calls.conversations import UPGRADE_REFUSED
from wirekey.core.egress.hosts import region_of
from wirekey.core.errors import Refusal
from wirekey.core.metering.modifiers import tier_of
from wirekey.core.model_name import ModelName, ModelNameError, is_plain
from wirekey.core.operation import Facts, Kind
from wirekey.core.routing.routes import not_enabled
from wirekey.core.routing.translating import missing_note
from wirekey.core.signing.event_signatures import EVENTS_PAYLOAD
from wirekey.providers.bedrock.services import service_of
from wirekey.providers.formats import TRANSLATED
from wirekey.providers.price_facts import header_modifiers, with_modifiers
from wirekey.providers.registry import PROVIDERS, answered_as, family_of, owner_of_model, provider_of_backend
from wirekey.providers.request_edits import RequestEdits
from wirekey.providers.request_head import check_headers, read_query

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mitmproxy import http

    from wirekey.core.body import RequestBody
    from wirekey.core.call import Call
    from wirekey.core.calls.state import CallState
    from wirekey.core.operation import Operation
    from wirekey.providers.protocol import Provider

READ_BODIES = (*READ_AS_JSON, Body.MULTIPART)
STREAMED_BODIES = (Body.OPAQUE, Body.EVENTS)
EVENTS_ELSEWHERE = Refusal(
    403,
    "signature_refused",
    f"Only streams in both directions can be signed with x-amz-content-sha256: {EVENTS_PAYLOAD}. Sign the whole body.",
    error_type="InvalidSignatureException",
)


class Recognition(Addon):
    """Decides which operation of the provider a request is, and refuses any other request.

    It reads the body only if the operation's facts are in it. It leaves operation and facts in the call. A provider or
    parameters that the client wrote into the model's name are applied here, so that the policy sees what is sent.
    """

    decides_own_calls = True

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Recognise the operation by method and path, and decide whether the body is read."""
        call = self.calls.of(flow)
        assert call.provider
        request = flow.request
        check_headers(request.headers.fields)
        plain = PROVIDERS[call.provider].operations.plain_target(request.path)
        path, _, query = plain.partition("?")
        if plain != request.path:
            request.path, call.path = plain, path
        parameters = read_query(query)
        check_location(PROVIDERS[call.provider], path, self.calls.state(flow).host)
        operation = PROVIDERS[call.provider].operations.match_operation(request.method, path, request.headers)
        if operation is None or operation.kind is Kind.OTHER:
            operation = PROVIDERS[call.provider].companions.find(request.method, path) or operation
        if "upgrade" in request.headers and (operation is None or operation.body not in WEBSOCKETS):
            raise UPGRADE_REFUSED
        if operation is None:
            raise Refusal(
                404,
                "unknown_operation",
                f"{request.method} on this path is not an operation of {call.provider}. Write the path as its "
                "documentation does.",
            )
        if PROVIDERS[call.provider].credentials.uses_aws:
            self.check_for_aws(self.calls.state(flow), operation)
        if operation.body in OPEN_FOR_LONG:
            operation = self.services.conversations.open(flow, self.calls.state(flow), operation, parameters)
        call.operation = operation
        PROVIDERS[call.provider].operations.check_head(operation, parameters, request.headers)
        call.reads_body = operation.body in READ_BODIES
        if call.reads_body:
            self.check_body_head(flow)
        else:
            flow.request.stream = operation.body in STREAMED_BODIES
            self.admit(flow, call)

    def check_for_aws(self, state: CallState, operation: Operation) -> None:
        """Raise Refusal unless the host has the operation, and the client's signature covers the body that it has."""
        if operation.kind is not Kind.COMPANION:
            check_service(state.host, operation)
        if operation.body is not Body.EVENTS and self.services.agent_signatures.signs_events(state):
            raise EVENTS_ELSEWHERE

    def check_body_head(self, flow: http.HTTPFlow) -> None:
        """Raise Refusal if the body is too long or compressed; reserve memory for a body of known length."""
        request = flow.request
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise Refusal(415, "encoded_body", "The request body is compressed. Send it without Content-Encoding.")
        length = request.headers.get("content-length")
        limit = self.services.settings.limits.body_bytes
        if length is not None and length.isdecimal() and int(length) > limit:
            raise Refusal(
                413,
                "request_too_large",
                f"The request body is larger than limits.body_bytes allows ({limit} bytes).",
            )
        if length is not None and length.isdecimal():
            self.calls.reserve(flow, int(length))

    def request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Read the facts of a call from its body."""
        state = self.calls.state(flow)
        call, body = state.call, state.body
        if not call.reads_body:
            return None
        assert call.operation
        if call.operation.body in READ_AS_JSON:
            if is_costly(body):
                return self.admit_costly(flow, call)
            check_values(body, self.services.settings.json_values)
        self.admit(flow, call)
        return None

    async def admit_costly(self, flow: http.HTTPFlow, call: Call) -> None:
        """Read the facts of a call from its body in another process."""
        call.facts = await self.read_apart(flow, call)
        if self.apply_facts(flow, call):
            call.facts = await self.read_apart(flow, call)

    async def read_apart(self, flow: http.HTTPFlow, call: Call) -> Facts | None:
        """Read a body in another process, and note what makes reading it again cheap. Raises Refusal."""
        assert call.provider
        body = self.calls.state(flow).body
        query, content_type = self.read_head(flow)
        checked = None if isinstance(body, bytes) else body.values
        limit = self.services.settings.json_values
        task = ReadTask(family_of(call.provider), call.operation, query, content_type, limit, checked)
        reading = await self.services.body_reader.read(task, body, call.agent.id if call.agent else None)
        if not isinstance(body, bytes):
            body.values, body.spans = reading.values, reading.spans
        if reading.facts is None or call.operation is None:
            return reading.facts
        return self.with_headers(
            flow, call, PROVIDERS[call.provider].operations.facts_at(call.operation, reading.facts)
        )

    async def check_large(self, call: Call, body: RequestBody) -> None:
        """Count the values of a call's body and check its UTF-8, before it is decoded. Raises Refusal."""
        limit = self.services.settings.json_values
        if not is_costly(body):
            check_values(body, limit)
            return
        task = ReadTask("", None, {}, "", limit)
        reading = await self.services.body_reader.read(task, body, call.agent.id if call.agent else None)
        if not isinstance(body, bytes):
            body.values = reading.values

    def admit(self, flow: http.HTTPFlow, call: Call) -> None:
        """Set the facts of a call. Raises Refusal if its body cannot be read."""
        assert call.provider
        assert call.operation
        if not call.reads_body:
            stream = call.operation.stream or call.operation.body is Body.WEBSOCKET
            call.facts = self.with_headers(flow, call, Facts(model=call.operation.model, stream=stream))
            return
        call.facts = self.read_here(flow, call)
        if self.apply_facts(flow, call):
            call.facts = self.read_here(flow, call)

    def read_here(self, flow: http.HTTPFlow, call: Call) -> Facts:
        """Read the facts of a call from its body. Raises Refusal."""
        assert call.provider
        assert call.operation
        query, content_type = self.read_head(flow)
        body = self.calls.state(flow).body
        facts = PROVIDERS[call.provider].operations.read_request(call.operation, query, content_type, body)
        return self.with_headers(flow, call, facts)

    def with_headers(self, flow: http.HTTPFlow, call: Call, facts: Facts) -> Facts:
        """Return facts with what the headers of a request ask for that changes its price. Note its tier of service."""
        assert call.provider
        names = PROVIDERS[call.provider].prices.modifier_headers
        found = header_modifiers(names, self.calls.request(flow).headers) if names else ()
        if found:
            facts = replace(facts, modifiers=with_modifiers(facts.modifiers, found))
        call.service_tier = tier_of(facts.modifiers)
        return facts

    def read_head(self, flow: http.HTTPFlow) -> tuple[dict[str, str], str]:
        """Return the query and the Content-Type of a request."""
        request = self.calls.request(flow)
        return read_query(request.path.partition("?")[2]), request.headers.get("content-type", "")

    def apply_facts(self, flow: http.HTTPFlow, call: Call) -> bool:
        """Apply what the name of a model says. Return whether this has changed the body, so that it is read again."""
        assert call.operation
        assert call.facts
        model = call.facts.model
        if model and call.operation.kind is Kind.INFERENCE and not is_plain(model):
            self.apply_model_name(flow, call, model)
            return True
        if model and (owner := self.owner_elsewhere(flow, call, model)):
            self.move(flow, call, owner, model)
            call.facts = PROVIDERS[owner].formats.own_facts(call.facts)
        return False

    def owner_elsewhere(self, flow: http.HTTPFlow, call: Call, model: str) -> str | None:
        """Return the other provider that a path of the gateway leads to for its model, unless a route decides that."""
        assert call.provider
        assert call.operation
        settings = self.services.settings
        if not self.calls.state(flow).by_model:
            return None
        owner = owner_of_model(model, settings.default_backend)
        if owner == call.provider:
            return None
        target = self.calls.request(flow).data.path
        offered = PROVIDERS[call.provider].operations.equivalent_target(target, call.operation, owner) is not None
        offered = offered or PROVIDERS[owner].receives(call.operation, model)
        route = settings.routes.find(model, call.operation, call.provider, call.agent) if offered else None
        return owner if offered and route is None else None

    def apply_model_name(self, flow: http.HTTPFlow, call: Call, written: str) -> None:
        """Move the provider and parameters in a model's name to where they belong, before the policy decides."""
        assert call.provider
        assert call.operation
        request, state = self.calls.request(flow), self.calls.state(flow)
        try:
            model = ModelName.parse(written)
            if model.destination:
                self.check_enabled(model.destination)
            content_type = request.headers.get("content-type", "")
            reader = PROVIDERS[provider_of_backend(model.destination or owner_of_model(model.name))]
            edits = RequestEdits(
                model.name,
                model.parameters,
                google_reads=reader.formats.serves_google_models or reader.locations is not None,
            )
            edited = PROVIDERS[call.provider].operations.edit_request(
                call.operation, request.data.path, content_type, state.body, edits
            )
        except ModelNameError as error:
            raise Refusal(400, "malformed_body", f"The model's name {error}.") from None
        request.data.path, state.body = edited.target, edited.body
        if call.operation.model is not None:
            call.operation = replace(call.operation, model=model.name)
            call.path = edited.target.partition(b"?")[0].decode("latin-1")
        state.named_destination = model.destination
        if model.backend:
            call.backend, call.model_prefix = model.backend, model.prefix
            state.client_credential = None
        elif model.provider:
            self.move(flow, call, model.provider, model.name)

    def check_enabled(self, backend: str) -> None:
        """Raise Refusal unless the configuration enables a provider or a backend."""
        if backend not in self.services.settings.routes.defaults:
            raise not_enabled(backend)

    def move(self, flow: http.HTTPFlow, call: Call, provider: str, model: str = "") -> None:
        """Make this a call to another provider that serves the same format, as if the client had called it.

        A call in a format that the provider does not serve stays what it is, and is translated. Raises Refusal if it
        cannot be translated.
        """
        assert call.provider
        assert call.operation
        called, request, state = call.provider, self.calls.request(flow), self.calls.state(flow)
        if provider == called:
            return
        elsewhere = answered_as(called, provider)
        target = PROVIDERS[called].operations.equivalent_target(request.data.path, call.operation, elsewhere)
        path = (target or b"").partition(b"?")[0].decode("latin-1")
        operation = (
            PROVIDERS[provider].operations.match_operation(request.method, path, request.headers) if target else None
        )
        is_served = PROVIDERS[provider].receives(call.operation, model) or self.is_translated(call.operation, provider)
        if (target is None or operation is None) and is_served:
            call.backend = state.named_destination = provider
            state.client_credential = None
            return
        if target is None or operation is None:
            note = missing_note() if call.operation.name in TRANSLATED else ""
            raise Refusal(
                400,
                "format_not_offered",
                f"The model belongs to {provider}, which does not serve {call.operation.name} in the format of "
                f"{called}. Call {provider} in its own format.{note}",
            )
        parameters = read_query(target.decode("latin-1").partition("?")[2])
        PROVIDERS[provider].operations.check_head(operation, parameters, request.headers)
        request.data.path, call.path = target, path
        call.provider, call.operation, state.host = provider, operation, PROVIDERS[provider].hosts.own
        # A credential that the client supplied for one provider is never sent to another.
        state.client_credential = None

    def is_translated(self, operation: Operation, provider: str) -> bool:
        """Return whether calls of an operation are translated for a provider."""
        speaks = PROVIDERS[provider].formats.speaks or PROVIDERS[provider].formats.embeddings("")
        return bool(speaks) and operation.name in TRANSLATED and self.services.settings.routes.translates


def check_location(provider: Provider, path: str, host: str) -> None:
    """Raise Refusal unless a path belongs to the host that was called, if the provider has one for each location."""
    wanted = provider.hosts.host_of(path)
    if wanted not in (None, host):
        raise Refusal(
            421,
            "names_differ",
            f"The path names a location whose host is {wanted}, and the request was sent to another host.",
        )


def check_service(host: str, operation: Operation) -> None:
    """Raise Refusal unless a host of Bedrock has this operation. The same path may mean another on other hosts."""
    if operation.kind is Kind.OTHER:
        return
    called, service = region_of(host), service_of(operation.name)
    if called is None or called.service != service:
        raise Refusal(
            404,
            "unknown_operation",
            f"{operation.name} is an operation of {service}, and this host belongs to another service. "
            f"Send it to {service}.REGION.amazonaws.com.",
        )
