"""Recognises the operation of a call, its model and counts. Nothing of the content is kept."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from wirekey.addons.base import Addon
from wirekey.body import Body, SpooledBody
from wirekey.egress.hosts import region_of
from wirekey.errors import Refusal
from wirekey.json_size import check_size, check_utf8, may_exceed
from wirekey.model_name import ModelName, ModelNameError, is_plain
from wirekey.operation import Facts, Kind
from wirekey.providers import PROVIDERS, owner_of_model
from wirekey.providers.bedrock.services import service_of
from wirekey.providers.companions import companion_operation
from wirekey.providers.request_edits import RequestEdits
from wirekey.providers.request_head import check_headers, read_query
from wirekey.providers.request_json import malformed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator

    from mitmproxy import http

    from wirekey.body import RequestBody
    from wirekey.call import Call
    from wirekey.calls.services import Services
    from wirekey.operation import Operation

READ_BODIES = (Body.JSON, Body.MULTIPART)


class Recognition(Addon):
    """Decides which operation of the provider a request is, and refuses any other request.

    It reads the body only if the operation's facts are in it. It leaves operation and facts in the call. A provider or
    parameters that the client wrote into the model's name are applied here, so that the policy sees what is sent.
    """

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self.one_large = asyncio.Lock()

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Recognise the operation by method and path, and decide whether the body is read."""
        call = self.calls.of(flow)
        assert call.provider
        request = flow.request
        check_headers(request.headers.fields)
        plain = PROVIDERS[call.provider].plain_target(request.path)
        path, _, query = plain.partition("?")
        if plain != request.path:
            request.path, call.path = plain, path
        read_query(query)
        operation = PROVIDERS[call.provider].match_operation(request.method, path, request.headers)
        if operation is None or operation.kind is Kind.OTHER:
            operation = companion_operation(call.provider, request.method, path) or operation
        if operation is None:
            raise Refusal(
                404,
                "unknown_operation",
                f"{request.method} on this path is not an operation of {call.provider}. Write the path as its "
                "documentation does.",
            )
        if operation.unsupported:
            raise Refusal(403, "not_supported", operation.unsupported)
        if PROVIDERS[call.provider].uses_aws and operation.kind is not Kind.COMPANION:
            check_service(self.calls.state(flow).host, operation)
        call.operation = operation
        call.reads_body = operation.body in READ_BODIES
        if call.reads_body:
            self.check_body_head(flow)
        else:
            flow.request.stream = operation.body is Body.OPAQUE
            self.admit(flow, call)

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
        if call.operation.body is Body.JSON and self.is_large(body):
            return self.admit_large(flow, call, body)
        self.admit(flow, call)
        return None

    def is_large(self, body: RequestBody) -> bool:
        """Return whether a body may have too many values to be read at once."""
        return not isinstance(body, bytes) or may_exceed(body, self.services.settings.json_values)

    async def admit_large(self, flow: http.HTTPFlow, call: Call, body: RequestBody) -> None:
        """Check a large body, and read the facts of a call from it."""
        await self.check_large(body)
        self.admit(flow, call)

    async def check_large(self, body: RequestBody) -> None:
        """Count the values of a large body and check its UTF-8. One body is checked at a time, in small steps."""
        limit = self.services.settings.json_values
        if not self.is_large(body):
            return
        async with self.one_large:
            values = await in_steps(check_size(body, limit))
            if isinstance(body, SpooledBody):
                try:
                    await in_steps(check_utf8(body))
                except UnicodeDecodeError:
                    raise malformed("it is not UTF-8") from None
                body.values = values

    def admit(self, flow: http.HTTPFlow, call: Call) -> None:
        """Set the facts of a call. Raises Refusal if its body cannot be read."""
        assert call.provider
        assert call.operation
        if not call.reads_body:
            call.facts = Facts(model=call.operation.model, stream=call.operation.stream)
            return
        request = self.calls.request(flow)
        query = read_query(request.path.partition("?")[2])
        body = self.calls.state(flow).body
        content_type = request.headers.get("content-type", "")
        call.facts = PROVIDERS[call.provider].read_request(call.operation, query, content_type, body)
        model = call.facts.model
        if model and call.operation.kind is Kind.INFERENCE and not is_plain(model):
            self.apply_model_name(flow, call, model)
            body = self.calls.state(flow).body
            call.facts = PROVIDERS[call.provider].read_request(call.operation, query, content_type, body)
        elif model and (owner := self.owner_elsewhere(flow, call, model)):
            self.move(flow, call, owner)
            call.facts = PROVIDERS[owner].own_facts(call.facts)

    def owner_elsewhere(self, flow: http.HTTPFlow, call: Call, model: str) -> str | None:
        """Return the other provider that a path of the gateway leads to for its model, unless a route decides that."""
        assert call.provider
        assert call.operation
        settings = self.services.settings
        owner = owner_of_model(model, settings.default_backend)
        if not self.calls.state(flow).by_model or owner == call.provider:
            return None
        target = self.calls.request(flow).data.path
        offered = PROVIDERS[call.provider].equivalent_target(target, call.operation, owner) is not None
        route = settings.routes.find(model, call.operation, call.provider, call.agent) if offered else None
        return owner if offered and route is None else None

    def apply_model_name(self, flow: http.HTTPFlow, call: Call, written: str) -> None:
        """Move the provider and parameters in a model's name to where they belong, before the policy decides."""
        assert call.provider
        assert call.operation
        request, state = self.calls.request(flow), self.calls.state(flow)
        try:
            model = ModelName.parse(written)
            content_type = request.headers.get("content-type", "")
            edits = RequestEdits(model.name, model.parameters)
            edited = PROVIDERS[call.provider].edit_request(
                call.operation, request.data.path, content_type, state.body, edits
            )
        except ModelNameError as error:
            raise Refusal(400, "malformed_body", f"The model's name {error}.") from None
        request.data.path, state.body = edited.target, edited.body
        if call.operation.model is not None:
            call.operation = replace(call.operation, model=model.name)
            call.path = edited.target.partition(b"?")[0].decode("latin-1")
        if model.provider:
            self.move(flow, call, model.provider)

    def move(self, flow: http.HTTPFlow, call: Call, provider: str) -> None:
        """Make this a call to another provider that serves the same format, as if the client had called it.

        Raises Refusal if that provider does not serve the format.
        """
        assert call.provider
        assert call.operation
        called, request, state = call.provider, self.calls.request(flow), self.calls.state(flow)
        if provider == called:
            return
        target = PROVIDERS[called].equivalent_target(request.data.path, call.operation, provider)
        path = (target or b"").partition(b"?")[0].decode("latin-1")
        operation = PROVIDERS[provider].match_operation(request.method, path, request.headers) if target else None
        if target is None or operation is None:
            raise Refusal(
                400,
                "format_not_offered",
                f"The model belongs to {provider}, which does not serve {call.operation.name} in the format of "
                f"{called}. Call {provider} in its own format.",
            )
        request.data.path, call.path = target, path
        call.provider, call.operation, state.host = provider, operation, PROVIDERS[provider].host
        # A credential that the client supplied for one provider is never sent to another.
        state.client_credential = None


async def in_steps[T](steps: Generator[None, None, T]) -> T:
    """Run a generator to its end and let the event loop handle other events after each step."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        await asyncio.sleep(0)


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
