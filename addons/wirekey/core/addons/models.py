"""Lists the models that an agent may call, of all providers and routes, for requests to the gateway itself."""

from __future__ import annotations

import asyncio
import hashlib
import time
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from mitmproxy import ctx, http

from wirekey.core.addons.base import AdmittingAddon
from wirekey.core.calls.redaction import redact_head
from wirekey.core.calls.upstream_signatures import endpoint_of
from wirekey.core.credentials.aws import CredentialsUnavailable
from wirekey.core.credentials.pool import retry_after_seconds
from wirekey.core.daemon_thread import in_daemon_thread
from wirekey.core.egress.hosts import region_of
from wirekey.core.errors import Fault, Refusal
from wirekey.core.header_fields import by_name
from wirekey.core.policy.input import build_input
from wirekey.core.policy.permissions import check_permission
from wirekey.core.routing.candidate import Upstream
from wirekey.core.routing.catalogue import as_call, catalogue, models_of_backends
from wirekey.core.routing.gateway_paths import bedrock_host_of
from wirekey.core.routing.list_fetching import ListError, ModelLists, Question, ask
from wirekey.core.routing.plan import REFUSED_KEY
from wirekey.core.signing.request import RequestHead
from wirekey.providers.model_list import ListedModel
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from wirekey.core.call import Call
    from wirekey.core.calls.services import Services
    from wirekey.core.calls.settings import Settings
    from wirekey.core.credentials.pool import ProviderKey
    from wirekey.core.operation import Operation
    from wirekey.core.routing.list_fetching import Known

OPERATIONS = ("models.list", "models.get")
DECIDED_AT_ONCE = 8
"""Decisions of the policy at a time: an OPA server takes a while for each."""
SETTLED_STATUSES = (REFUSED_KEY - {HTTPStatus.FORBIDDEN}) | {HTTPStatus.TOO_MANY_REQUESTS}
"""Statuses of a list of models after which its key cools down, as after calls.

403 is not one of them: a key that may not list models may still be allowed to call them.
"""
NOTHING = hashlib.sha256(b"").hexdigest()


class Models(AdmittingAddon):
    """Responds to `models.list` and `models.get` on the gateway's own paths. Such a call is not sent to a provider.

    The policy, which comes before, has allowed the list itself. Each model is listed only if the policy allows a call
    to it.
    """

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self.lists = ModelLists(self.fetch)

    def admit(self, flow: http.HTTPFlow, call: Call) -> Awaitable[None] | None:
        """Respond with a list or one model, if the call is for the gateway itself.

        Raises Refusal if no model list is available, or the model is not listed.
        """
        state, settings = self.calls.state(flow), self.services.settings
        assert call.provider
        assert call.operation
        if not state.own_models or call.operation.name not in OPERATIONS or call.provider in settings.key_sources:
            # If the clients have their own keys, each gets the provider's list of its own account.
            return None
        return self.respond_with_models(flow, call, call.provider, call.operation)

    async def respond_with_models(self, flow: http.HTTPFlow, call: Call, provider: str, operation: Operation) -> None:
        """Respond with a list or one model. Raises Refusal as `admit` does."""
        settings = self.services.settings
        known = await self.lists.known(list_origins(settings))
        lists = {**models_of_backends(settings.routes.defaults), **known.lists, **backend_lists(settings)}
        entries = catalogue(lists, settings.routes.routes, translates=settings.routes.translates)
        if not entries and not known.lists:
            raise unknown(known)
        if operation.name == "models.list":
            document = PROVIDERS[provider].models.write_models(await self.allowed(flow, call, entries))
        else:
            wanted = operation.model
            found = await self.allowed(flow, call, [entry for entry in entries if entry.id == wanted])
            if not found:
                raise Refusal(
                    404,
                    "model_not_found",
                    "No provider or route has a model of this name that this agent may call. "
                    "GET /v1/models lists them.",
                )
            document = PROVIDERS[provider].models.write_model(found[0])
        self.respond(flow, call, document)

    async def allowed(self, flow: http.HTTPFlow, call: Call, entries: Sequence[ListedModel]) -> list[ListedModel]:
        """Return the models that this agent may call. A model on which the policy cannot decide is left out."""
        headers = by_name(self.calls.request(flow).headers.fields)
        found: list[ListedModel] = []
        for start in range(0, len(entries), DECIDED_AT_ONCE):
            some = entries[start : start + DECIDED_AT_ONCE]
            verdicts = await asyncio.gather(*(self.may_call(entry, call, headers) for entry in some))
            found += [entry for entry, may in zip(some, verdicts, strict=True) if may]
        return found

    async def may_call(self, entry: ListedModel, listing: Call, headers: Mapping[str, str]) -> bool:
        """Return whether the agent of a listing may call a model."""
        call = as_call(entry, listing)
        try:
            if call.agent is not None or self.services.settings.identity_required:
                check_permission(call)
        except Refusal:
            return False
        return (await self.services.policy.decide(build_input(call, headers))).allow

    def respond(self, flow: http.HTTPFlow, call: Call, document: dict[str, object]) -> None:
        """Set the response of a call, with its body beside the flow."""
        body = msgspec.json.encode(document)
        call.policy_result, call.status, call.response_bytes = "allow", 200, len(body)
        self.calls.state(flow).responds_here = True
        headers = {"content-type": "application/json", "cache-control": "no-store", "x-wirekey-request-id": call.id}
        if self.services.settings.simulated:
            headers["x-wirekey-simulated"] = "true"
        flow.request.stream = False
        flow.response = http.Response.make(200, b"", headers)
        flow.response.headers["content-length"] = str(len(body))
        self.calls.local_response_bodies[flow] = body
        redact_head(flow.request)

    # The providers' own lists.

    async def fetch(self, provider: str) -> list[object]:
        """Fetch the list of a provider with Wirekey's own key. Raises ListError."""
        settings = self.services.settings
        host = host_of(provider, settings)
        upstream = settings.upstreams.get(provider) or Upstream(host, path=PROVIDERS[provider].hosts.path_prefix)
        pool = settings.pools.get(provider)
        key = pool.choose(time.monotonic()) if pool else None
        usual = {"Host": upstream.authority, "Accept": "application/json", "User-Agent": "wirekey"}
        usual |= PROVIDERS[provider].models.headers
        targets = PROVIDERS[provider].models.targets
        requests = []
        for target in targets:
            headers = usual | await self.credential(provider, key, target, usual)
            requests.append((upstream.path + target, headers))
        question = Question(
            provider,
            upstream.host,
            upstream.port,
            (upstream.host, upstream.port) in settings.places,
            ctx.options.ssl_verify_upstream_trusted_ca,
            tuple(requests),
            settings.proxies.proxy_for(upstream.host, upstream.port),
        )
        try:
            return await in_daemon_thread(partial(ask, question), "wirekey-models")
        except ListError as error:
            if pool and key and error.status in SETTLED_STATUSES:
                wait = retry_after_seconds(error.retry_after, time.time())
                self.services.sharing.record_status(pool, key, error.status, wait, time.monotonic())
            raise

    async def credential(
        self, provider: str, key: ProviderKey | None, target: str, headers: Mapping[str, str]
    ) -> dict[str, str]:
        """Return the headers with the credential of a request for a list. Raises ListError without a credential."""
        if key:
            name, value = PROVIDERS[provider].credentials.header(key.secret.reveal(), target.partition("?")[0])
            return {name: value}
        aws = self.services.settings.aws
        if not PROVIDERS[provider].credentials.uses_aws or aws is None:
            raise ListError("there is no key for it")
        try:
            pair = aws.current(None) or await aws.fetch(None)
        except CredentialsUnavailable as error:
            raise ListError(error.sentence.rstrip(".")) from error
        fields = [(name.encode(), value.encode()) for name, value in headers.items()]
        head = RequestHead("GET", target.encode(), fields)
        endpoint = endpoint_of(host_of(provider, self.services.settings))
        signed = self.services.upstream_signatures.signer.sign(head, NOTHING, pair, endpoint, time.time())
        return {name.decode(): value.decode() for name, value in signed}


def backend_lists(settings: Settings) -> dict[str, tuple[ListedModel, ...]]:
    """Return the models of the backends that serve models without a prefix, by the backend's name.

    Those of another backend are in the list if a route names them.
    """
    routes = settings.routes
    served = {routes.default_backend, *(route.provider for route in routes.routes if route.pattern == "*")}
    return {
        name: tuple(ListedModel(model, "gemini", in_every_format=routes.translates) for model in accounts.models)
        for name, accounts in settings.backends.items()
        if name in served or not settings.pools["gemini"].keys
    }


def list_origins(settings: Settings) -> dict[str, str]:
    """Return the providers for which Wirekey has a credential → the host:port that lists their models."""
    found = {}
    for name, provider in PROVIDERS.items():
        pool = settings.pools.get(name)
        has_key = bool(pool and pool.keys) or (provider.credentials.uses_aws and settings.aws is not None)
        if has_key and name not in settings.key_sources:
            upstream = settings.upstreams.get(name)
            found[name] = upstream.authority if upstream else host_of(name, settings)
    return found


def host_of(provider: str, settings: Settings) -> str:
    """Return the provider's own host that lists models; for Bedrock, the host of the first region."""
    if host := PROVIDERS[provider].hosts.own:
        return host
    region = next(found.region for name in settings.hosts if (found := region_of(name)))
    found_host = bedrock_host_of("GET", PROVIDERS[provider].models.targets[0], region, settings.hosts)
    assert found_host
    return found_host


def unknown(known: Known) -> Refusal:
    """Return the refusal of a list of which no part is known."""
    if not known.troubles:
        message = "Wirekey has no key for any provider. Its operator sets one in the environment or in wirekey.yaml."
        return Refusal(503, "no_provider_key", message, Fault.OPERATOR)
    reasons = "; ".join(f"{provider}: {trouble}" for provider, trouble in known.troubles.items())
    return Refusal(
        503,
        "models_unknown",
        f"No provider has returned its list of models ({reasons}). You can call a model whose name you know.",
        Fault.PROVIDER,
    )
