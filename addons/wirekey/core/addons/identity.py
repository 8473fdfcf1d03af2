"""Finds the agent that calls: by a token at CONNECT or in the place of an API key, or by an AWS signature."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from wirekey.core.addons.base import Addon
from wirekey.core.calls.agent_check import IDENTITY_ENDED
from wirekey.core.calls.agent_signatures import signed_head
from wirekey.core.calls.client_options import option_headers
from wirekey.core.calls.credential_kinds import AddedKeyIdentification, TokenKind
from wirekey.core.calls.credential_removal import key_headers, strip
from wirekey.core.calls.imported_tokens import NO_IMPORTED, find_imported, quoted_token, slow_down
from wirekey.core.calls.label_sources import HeaderLabels
from wirekey.core.credentials.client_supplied import client_credential_fields, client_supplied_credential
from wirekey.core.credentials.uploads import upload_ids
from wirekey.core.egress.web_pages import OF_A_PAGE, is_from_a_page
from wirekey.core.errors import Refusal
from wirekey.core.header_fields import by_name
from wirekey.core.identity.client_tokens import is_wirekey_token, presented_values, proxy_credentials
from wirekey.core.identity.proof import Proof, agent_of_token, proven_agent
from wirekey.core.identity.refusals import (
    NO_AGENT,
    TWO_AGENTS,
    TWO_UPLOADS,
    UNKNOWN_AGENT,
    UNKNOWN_UPLOAD,
    UPLOAD_OF_ANOTHER,
)
from wirekey.core.identity.tokens import token_digest
from wirekey.core.tracebacks import forget_frames
from wirekey.feature_registry import parts
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mitmproxy import http
    from mitmproxy.connection import Client

    from wirekey.core.calls.credential_kinds import KeyIdentification, PresentedKey
    from wirekey.core.calls.imported_tokens import ImportedTokens
    from wirekey.core.calls.services import Services
    from wirekey.core.calls.state import CallState
    from wirekey.core.identity.proof import TokenReference
    from wirekey.core.signing.request import RequestHead


class Identity(Addon):
    """Finds the agent of a call, before anything else is checked, so that each refusal names the agent.

    It removes every credential of the client from the flow. It leaves the agent in the call, and in the state what
    proves it, so that it can be looked up again. All identities of a request must be of one agent.
    """

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self.token_kinds = tuple(parts(TokenKind))
        self.key_checks = next((part.make(services) for part in parts(AddedKeyIdentification)), None)
        self.header_labels = next((part.read for part in parts(HeaderLabels)), None)
        self.tunnel_keys: WeakKeyDictionary[Client, PresentedKey] = WeakKeyDictionary()
        """For each client connection, the key of its CONNECT, if `key_checks` has accepted it."""

    async def http_connect(self, flow: http.HTTPFlow) -> None:
        """Find the agent of a tunnel; ask for credentials with 407 if it has none."""
        values = flow.request.headers.get_all("proxy-authorization")
        state = self.calls.find_or_open(flow)
        call = state.call
        strip(flow.request)
        if not values:
            if call.provider is None and self.services.settings.identity_required:
                state.unproven = True
                self.challenge(flow, "no agent")
            return
        presented = proxy_credentials(values[0]) if len(values) == 1 else None
        try:
            held = await self.hold_of_tunnel(flow, *presented) if presented else None
        except Refusal as refusal:
            forget_frames(refusal)
            if refusal.status == 503:
                self.calls.refuse(flow, refusal)
            else:
                self.challenge(flow, refusal.message)
            return
        if held is not None:
            self.accept(state, Proof((held,), accepted_at=time.time()))
        if presented is None or held is None or call.agent is None or presented[0] not in (None, "", call.agent.id):
            self.tunnel_keys.pop(flow.client_conn, None)
            self.challenge(flow, "unknown agent")
            return
        self.services.tunnel_agents[flow.client_conn] = held

    async def hold_of_tunnel(self, flow: http.HTTPFlow, name: str | None, token: str) -> TokenReference | None:
        """Return what is kept of the token of a tunnel; None if it is unknown. Raises Refusal as `hold` does."""
        if is_wirekey_token(token):
            return await self.hold(token)
        checks = self.checks_of(flow)
        asks = checks is not None
        imported = find_imported(
            self.services.agents, self.services.guesses, flow.client_conn, [(name, token)], counts=not asks
        )
        keys = checks.keys((), [(name, token)]) if checks and not imported.claims else []
        found = await checks.check(flow.client_conn, keys) if checks and keys else imported
        if found.claims:
            if keys:
                self.tunnel_keys[flow.client_conn] = keys[0]
            return found.claims[0][1]
        if found.wait:
            raise slow_down(found.wait)
        return None

    def checks_of(self, flow: http.HTTPFlow) -> KeyIdentification | None:
        """Return what may check the keys of a request or a tunnel, or None."""
        checks = self.key_checks
        return checks if checks and checks.may_check(flow.client_conn) else None

    async def hold(self, token: str) -> TokenReference:
        """Return what is kept of a token. Raises Refusal if it is of a feature's kind and not valid."""
        for kind in self.token_kinds:
            if kind.fits(token):
                return await kind.identify(self.services.opened, token)
        return token_digest(token)

    def accept(self, state: CallState, proof: Proof) -> None:
        """Make the agent that a proof identifies the agent of the call."""
        state.proof, state.call.agent = proof, proven_agent(proof, self.services.agents, proof.accepted_at)

    def challenge(self, flow: http.HTTPFlow, reason: str) -> None:
        """Refuse with 407. The reason phrase repeats the reason, since most SDKs hide the body."""
        message = (
            "This proxy needs an agent token: HTTPS_PROXY=http://NAME:TOKEN@host:port. "
            "Make one with: wirekey agents add NAME."
        )
        self.calls.refuse(flow, Refusal(407, "proxy_authentication_required", f"{message} ({reason})"))
        assert flow.response
        flow.response.headers["proxy-authenticate"] = 'Basic realm="wirekey", charset="UTF-8"'
        flow.response.headers["connection"] = "close"
        flow.response.reason = f"Proxy Authentication Required: {reason}, see wirekey agents add"

    def requestheaders(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Find the agent of a request by its tokens; keep a signature that is verified with the body."""
        state, request = self.calls.find_or_open(flow), flow.request
        call = state.call
        state.host = request.host
        head = state.arrived or signed_head(request)
        state.signs_payload = head is not None and "x-amz-content-sha256" in request.headers
        fields, query = request.headers.fields, request.path.partition("?")[2]
        values, named = presented_values(key_headers(request), query), self.proxy_claims(request)
        presented = [*((None, value) for value in values), *named]
        tokens = [(name, token) for name, token in presented if is_wirekey_token(token)]
        checks = self.checks_of(flow) if not tokens and head is None else None
        asks = checks is not None
        asks_all = asks and bool(call.provider or not values)
        imported, quoted = NO_IMPORTED, NO_IMPORTED.values
        if self.services.agents.has_imported:
            imported = find_imported(
                self.services.agents, self.services.guesses, flow.client_conn, presented, counts=not asks_all
            )
            quoted = quoted_token(self.services.agents, self.services.tunnel_agents.get(flow.client_conn), request)
        keys = []
        if checks and not imported.claims:
            keys = checks.keys(values if call.provider else (), named)
        if tunnel_key := self.tunnel_keys.get(flow.client_conn):
            keys = [tunnel_key]
        secrets = imported.masking(quoted, (key.key.reveal() for key in keys))
        if options := {name: request.headers[name] for name in option_headers() if name in request.headers}:
            state.options = options
        state.workspace = request.headers.get("x-wirekey-workspace")
        strip(request, secrets)
        if secrets:
            call.path = request.path.partition("?")[0]
        if self.header_labels:
            call.header_labels = self.header_labels(self.services.settings, request.headers.fields, fields)
        identify = partial(self.identify_presented, flow, state, tokens, head, fields=fields, query=query)
        return self.identify_by_check(flow, keys, imported, identify) if keys else identify(imported)

    async def identify_by_check(
        self,
        flow: http.HTTPFlow,
        keys: list[PresentedKey],
        imported: ImportedTokens,
        identify: Callable[[ImportedTokens], Awaitable[None] | None],
    ) -> None:
        """Ask the operator's function about the keys of a request or its tunnel, then identify it. Raises Refusal."""
        assert self.key_checks
        checked = await self.key_checks.check(flow.client_conn, keys)
        if not checked.claims:
            raise slow_down(checked.wait) if checked.wait else UNKNOWN_AGENT
        if flow.client_conn in self.tunnel_keys:
            self.services.tunnel_agents[flow.client_conn] = checked.claims[0][1]
        if waiting := identify(imported.with_checked(checked)):
            await waiting

    def identify_presented(
        self,
        flow: http.HTTPFlow,
        state: CallState,
        tokens: list[tuple[str | None, str]],
        head: RequestHead | None,
        imported: ImportedTokens,
        *,
        fields: tuple[tuple[bytes, bytes], ...],
        query: str,
    ) -> Awaitable[None] | None:
        """Keep the provider's key that the client sent, and find the agent of the request. Raises Refusal.

        `tokens` and `imported`: what was presented. `fields` and `query`: as the client sent them.
        """
        call, request = state.call, flow.request
        mode = self.services.settings.key_sources.get(call.provider or "", "inject")
        if call.provider and mode != "inject":
            passthrough = mode == "passthrough"
            if passthrough and imported.wait:
                raise slow_down(imported.wait)  # the provider must not get what might be an agent's token
            state.client_credential = client_supplied_credential(
                call.provider,
                state.host,
                fields,
                query=query,
                passthrough=passthrough,
                agent_tokens=imported.values,
            )
        if self.services.settings.takes_client_keys:
            state.client_credential_fields = client_credential_fields(fields)
        if tokens and any(kind.fits(token) for kind in self.token_kinds for _, token in tokens):
            return self.identify_by_kind(flow, state, tokens, imported, head)
        held = [(name, token_digest(token)) for name, token in tokens]
        self.identify(flow, state, [*held, *imported.claims])
        if call.provider and PROVIDERS[call.provider].credentials.has_upload_ids and self.services.sharing.is_needed:
            ids = upload_ids(request.path)
            if self.services.sharing.must_ask_for_upload(ids):
                return self.check_after_asking(flow, state, imported, head, ids)
        self.check_identity(flow, state, imported, head)
        return self.services.agent_signatures.admit(state) if head else None

    async def check_after_asking(
        self,
        flow: http.HTTPFlow,
        state: CallState,
        imported: ImportedTokens,
        head: RequestHead | None,
        ids: tuple[str, ...],
    ) -> None:
        """Ask other processes for the agent of an upload, and check the identity. Raises Refusal."""
        await self.services.sharing.learn_uploads(ids)
        self.check_identity(flow, state, imported, head)
        if head and (waiting := self.services.agent_signatures.admit(state)):
            await waiting

    async def identify_by_kind(
        self,
        flow: http.HTTPFlow,
        state: CallState,
        tokens: list[tuple[str | None, str]],
        imported: ImportedTokens,
        head: RequestHead | None,
    ) -> None:
        """Find the agent of a request with a token of a feature's kind, which may have to wait. Raises Refusal."""
        held = [(name, await self.hold(token)) for name, token in tokens]
        self.identify(flow, state, [*held, *imported.claims])
        call = state.call
        if call.provider and PROVIDERS[call.provider].credentials.has_upload_ids and self.services.sharing.is_needed:
            await self.services.sharing.learn_uploads(upload_ids(flow.request.path))
        self.check_identity(flow, state, imported, head)
        if head and (waiting := self.services.agent_signatures.admit(state)):
            await waiting

    def check_identity(
        self,
        flow: http.HTTPFlow,
        state: CallState,
        imported: ImportedTokens,
        head: RequestHead | None,
    ) -> None:
        """Raise Refusal unless a request has the identity that it needs. Its tokens were looked up before."""
        call, request = state.call, flow.request
        if call.provider and PROVIDERS[call.provider].credentials.has_upload_ids and (ids := upload_ids(request.path)):
            self.find_upload(state, ids)
        if head is not None:
            self.services.agent_signatures.keep(state, request, head)
        nobody = call.agent is None and not state.unverified
        if nobody and imported.wait:
            raise slow_down(imported.wait)
        if nobody and call.provider and self.services.settings.identity_required:
            raise NO_AGENT
        if nobody and call.provider and is_from_a_page(by_name(request.headers.fields), self.services.settings.cors):
            raise OF_A_PAGE
        call.path = request.path.partition("?")[0]

    def proxy_claims(self, request: http.Request) -> list[tuple[str | None, str]]:
        """Return (agent name, token) of each readable Proxy-Authorization of a request other than CONNECT."""
        if "proxy-authorization" not in request.headers:
            return []
        read = map(proxy_credentials, request.headers.get_all("proxy-authorization"))
        return [claim for claim in read if claim]

    def identify(self, flow: http.HTTPFlow, state: CallState, claims: list[tuple[str | None, TokenReference]]) -> None:
        """Look up every token of the request and its tunnel. Raises Refusal unless all belong to one agent.

        `claims`: (agent name or None, what is kept of the token).
        """
        now = time.time()
        if tunnel := self.services.tunnel_agents.get(flow.client_conn):
            claims.append((None, tunnel))
        if not claims:
            return
        ids: set[str] = set()
        for name, held in claims:
            agent = agent_of_token(held, self.services.agents, now)
            if agent is None:
                raise UNKNOWN_AGENT
            ids |= {agent.id, name or agent.id}
        if len(ids) > 1:
            raise TWO_AGENTS
        self.accept(state, Proof(tuple(dict.fromkeys(held for _, held in claims)), accepted_at=now))

    def request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Verify the signature of an agent's pair, which covers the body, and look the agent up again.

        The body may have taken a while, and the policy must decide on the agent as it is now.
        """
        state = self.calls.state(flow)
        waiting = None
        if state.unverified:
            self.services.agent_signatures.verify(state)
            waiting = self.services.agent_signatures.admit(state)
        if state.proof:
            agent = proven_agent(state.proof, self.services.agents, time.time())
            if agent is None:
                raise IDENTITY_ENDED
            state.call.agent = agent
        return waiting

    def find_upload(self, state: CallState, ids: tuple[str, ...]) -> None:
        """Find the agent of a later request of an upload, which may be identified by its upload_id alone.

        Raises Refusal for an upload_id that Wirekey has not seen: it could belong to another account.
        """
        agent = state.call.agent
        if len(ids) > 1:
            raise TWO_UPLOADS
        begun = self.services.uploads.find(ids[0], time.monotonic())
        if begun is None:
            raise UNKNOWN_UPLOAD if agent or not self.services.settings.identity_required else NO_AGENT
        if agent is not None:
            if agent.id != begun.agent:
                raise UPLOAD_OF_ANOTHER
            return
        if begun.token is None:
            return
        self.accept(state, Proof((begun.token,), accepted_at=time.time()))
        if state.call.agent is None:
            raise UNKNOWN_AGENT
