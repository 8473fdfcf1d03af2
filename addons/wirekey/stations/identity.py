"""Who calls: a token at CONNECT or in the provider's own place for a key, looked up anew for each request."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from wirekey.credentials.client_held import brought, held_fields
from wirekey.credentials.slots import is_credential_header, strip_query
from wirekey.credentials.uploads import upload_ids
from wirekey.identity.jwt_reading import RefusedTokenError, looks_like_jwt
from wirekey.identity.presented import proxy_credentials, slot_tokens
from wirekey.identity.tokens import token_digest
from wirekey.refusal import Refusal
from wirekey.stations.signatures import has_no_body, is_ours, signed_head
from wirekey.stations.station import Station, fail_closed

if TYPE_CHECKING:
    from mitmproxy import http

    from wirekey.call import Agent
    from wirekey.identity.jwt_tokens import Held
    from wirekey.signing.request import RequestHead
    from wirekey.stations.passage import Passage
    from wirekey.wire.request_body import RequestBody

UNKNOWN_AGENT = Refusal(
    401,
    "unknown_agent",
    "No agent has this token, or it was revoked. Ask for one: wirekey agents add NAME. It goes into the proxy URL "
    "(http://NAME:TOKEN@host:port) or into the place of the API key.",
)
NO_AGENT = Refusal(
    401,
    "no_agent",
    "The call does not say which agent makes it. Put an agent token (wk_…) into the proxy URL "
    "(http://NAME:TOKEN@host:port) or into the place of the API key. To make one: wirekey agents add NAME.",
)
TWO_AGENTS = Refusal(
    401, "agents_disagree", "The call names two different agents: the proxy URL one, the API key another."
)
FOREIGN_PAIR = Refusal(
    403,
    "unknown_pair",
    "The request is signed with an AWS access key that is no agent's. Sign with the agent's own pair (wirekey agents "
    "aws NAME), or put an agent token into the proxy URL.",
    error_type="UnrecognizedClientException",
)
TWO_UPLOADS = Refusal(400, "malformed", "The request names more than one upload_id.")
UNKNOWN_UPLOAD = Refusal(
    403,
    "unknown_upload",
    "No upload of this upload_id was begun here, or it was too long ago, or Wirekey was started anew since. "
    "Begin the upload again.",
)
UPLOAD_OF_ANOTHER = Refusal(
    403, "upload_of_another_agent", "Another agent began this upload. Begin one of your own, with your own token."
)


class Identity(Station):
    @fail_closed
    async def http_connect(self, flow: http.HTTPFlow) -> None:
        values = flow.request.headers.get_all("proxy-authorization")
        call = self.house.call(flow)
        strip(flow.request)
        if not values:
            if call.provider is None and self.house.settings.identity_required:
                self.challenge(flow, "no agent")
            return
        presented = proxy_credentials(values[0]) if len(values) == 1 else None
        try:
            held = await self.hold(presented[1]) if presented else None
        except Refusal as refusal:
            self.challenge(flow, refusal.message)
            return
        agent = self.holder(held) if held else None
        if presented is None or held is None or agent is None or presented[0] not in (None, "", agent.id):
            self.challenge(flow, "unknown agent")
            return
        call.agent = agent
        self.house.tunnel_agents[flow.client_conn] = held

    async def hold(self, token: str) -> Held:
        """Give what is kept of a token. Raises Refusal where a JWT is not to be believed."""
        if not looks_like_jwt(token):
            return token_digest(token)
        try:
            return await self.house.jwts.identify(token)
        except RefusedTokenError as error:
            raise Refusal(401, "refused_token", f"The JWT {error}.") from error

    def holder(self, held: Held) -> Agent | None:
        """Give whose token it is now; None where it is good no more."""
        if isinstance(held, bytes):
            return self.house.book.find_hash(held)
        return self.house.jwts.bearer(held, time.time())

    def challenge(self, flow: http.HTTPFlow, reason: str) -> None:
        """Answer 407; most SDKs hide its body, so the reason phrase says it too."""
        message = (
            "This proxy needs an agent token: HTTPS_PROXY=http://NAME:TOKEN@host:port. "
            "Make one with: wirekey agents add NAME."
        )
        self.house.refuse(flow, Refusal(407, "proxy_authentication_required", f"{message} ({reason})"))
        assert flow.response
        flow.response.headers["proxy-authenticate"] = 'Basic realm="wirekey", charset="UTF-8"'
        flow.response.headers["connection"] = "close"
        flow.response.reason = f"Proxy Authentication Required: {reason}, see wirekey agents add"

    @fail_closed
    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        call, request = self.house.call(flow), flow.request
        passage = self.house.passage(flow)
        passage.host = request.host
        head = (passage.arrived or signed_head(request)) if call.provider == "bedrock" else None
        passage.signs_payload = head is not None and "x-amz-content-sha256" in request.headers
        bodiless = head is not None and has_no_body(request)
        fields, query = request.headers.fields, request.path.partition("?")[2]
        tokens = slot_tokens(decoded(request), query)
        strip(request)
        mode = self.house.settings.credentials.get(call.provider or "", "inject")
        if call.provider and mode != "inject":
            passes = mode == "passthrough"
            passage.brought = brought(call.provider, passage.host, fields, query=query, passes=passes)
        if self.house.settings.takes_client_keys:
            passage.held = held_fields(fields)
        kept = [await self.hold(token) for token in tokens]
        if tunnel := self.house.tunnel_agents.get(flow.client_conn):
            kept.append(tunnel)
        agents = {held: self.holder(held) for held in kept}
        if any(agent is None for agent in agents.values()):
            raise UNKNOWN_AGENT
        if len({agent.id for agent in agents.values() if agent}) > 1:
            raise TWO_AGENTS
        passage.token, call.agent = next(iter(agents.items()), (None, None))
        if call.provider == "gemini" and (ids := upload_ids(request.path)):
            call.agent = self.agent_of_upload(ids, call.agent)
        if head is not None:
            self.take_signature(passage, head, bodiless=bodiless)
        if call.agent is None and passage.signed is None and self.house.settings.identity_required:
            raise NO_AGENT
        call.target = request.path.partition("?")[0]

    @fail_closed
    def request(self, flow: http.HTTPFlow) -> None:
        """Verify a signature of ours, now that the body is there which it covers."""
        passage = self.house.passage(flow)
        if passage.signed is not None:
            self.verify(passage, passage.body)

    def take_signature(self, passage: Passage, head: RequestHead, *, bodiless: bool) -> None:
        """Keep what an agent's pair signed for when the body is there; leave other signatures to be taken off.

        Who says in no other way who calls learns what is wrong with such a signature.
        """
        if passage.call.agent is None:
            if not is_ours(head):
                raise FOREIGN_PAIR
        elif not quietly_ours(head):
            return
        passage.signed = head
        if bodiless:
            self.verify(passage, b"")

    def verify(self, passage: Passage, body: RequestBody) -> None:
        assert passage.signed
        call = passage.call
        agent, passage.verified = self.house.signatures.verify(passage.signed, body, passage.host, call)
        if call.agent is not None and call.agent.id != agent.id:
            raise TWO_AGENTS
        call.agent, passage.signed = agent, None

    def agent_of_upload(self, ids: tuple[str, ...], agent: Agent | None) -> Agent | None:
        """Give the agent of a later request of an upload, which says by its upload_id alone whose it is.

        An upload_id that was not got here is refused: it could lead into an account that is not ours.
        """
        if len(ids) > 1:
            raise TWO_UPLOADS
        begun = self.house.uploads.find(ids[0], time.monotonic())
        if begun is None:
            raise UNKNOWN_UPLOAD if agent or not self.house.settings.identity_required else NO_AGENT
        if agent is not None:
            if agent.id != begun.agent:
                raise UPLOAD_OF_ANOTHER
            return agent
        if begun.token is None:
            return None
        owner = self.holder(begun.token)
        if owner is None:
            raise UNKNOWN_AGENT
        return owner


def quietly_ours(head: RequestHead) -> bool:
    try:
        return is_ours(head)
    except Refusal:
        return False


def decoded(request: http.Request) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.fields]


def strip(request: http.Request) -> None:
    """Take the client's credentials off the flow, in every place and spelling, before anyone else looks."""
    headers = request.headers
    kept = tuple(field for field in headers.fields if not is_credential_header(field[0].decode("latin-1")))
    if len(kept) != len(headers.fields):
        headers.fields = kept
    path, mark, query = request.data.path.partition(b"?")
    if mark:
        stripped = strip_query(query.decode("latin-1")).encode("latin-1")
        if stripped != query:
            request.data.path = path + (b"?" + stripped if stripped else b"")
