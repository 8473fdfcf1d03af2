"""AWS signatures of agents: a program signs with the key pair that Wirekey issued to its agent.

A feature verifies them. Without it, a request that only such a signature identifies is refused. The access key of an
agent's pair begins with WKEY. A signature with any other key identifies no agent: it is removed from a request with
another identity.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from wirekey.core.errors import Fault, Refusal
from wirekey.core.identity.aws_pairs import ACCESS_KEY
from wirekey.core.identity.client_tokens import header_tokens
from wirekey.core.signing.request import RequestHead
from wirekey.core.signing.signature_parsing import has_signature
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mitmproxy import http

    from wirekey.core.calls.state import CallState
    from wirekey.core.signing.event_signatures import EventSignatures

NOT_VERIFIED = Refusal(
    403,
    "signature_refused",
    "This installation of Wirekey does not verify AWS signatures of agents, because the feature aws_signatures is "
    "missing. Use an agent token in the proxy URL, or in place of the API key.",
    Fault.OPERATOR,
    error_type="UnrecognizedClientException",
)


class AgentSignatures:
    """Refuses the signatures of agents. A feature overrides all methods, and verifies them.

    A method without `Raises` in its description does not raise then.
    """

    def load(self) -> None:
        """Import what signatures need, so that the first call need not wait for it."""

    def keep(self, state: CallState, request: http.Request, head: RequestHead) -> None:
        """Keep the signature of an agent's pair as `unverified` until the body arrives. Without a body, verify it.

        Any other signature is removed later. The tokens of the request were looked up before. Raises Refusal if the
        signature names a different agent, or is all that could identify one and does not.
        """
        if claimed_pairs(head) or (state.call.agent is None and is_for_aws(state)):
            raise NOT_VERIFIED

    def verify(self, state: CallState) -> None:
        """Verify the signature that was kept, and make its agent the agent of the call. Raises Refusal."""
        raise NOT_VERIFIED

    def admit(self, state: CallState) -> Awaitable[None] | None:
        """Note the use of a verified signature with the other processes, if there are any. Raises Refusal."""
        return None

    def signs_events(self, state: CallState) -> bool:
        """Return whether the verified signature covers a stream of events in place of the body."""
        return False

    def received_events(self, state: CallState) -> EventSignatures | None:
        """Return the client's signatures of its events; None if something else identified it. Raises Refusal."""
        return None

    def settle(self, state: CallState) -> None:
        """Note that a call has ended."""


def is_for_aws(state: CallState) -> bool:
    """Return whether AWS signatures are what the provider of a call expects."""
    return state.call.provider is not None and PROVIDERS[state.call.provider].credentials.uses_aws


def signed_head(request: http.Request, *, tls: bool = True) -> RequestHead | None:
    """Return the request as it was signed, without agent tokens; None if it has no AWS signature."""
    head = RequestHead(request.method, request.data.path, request.headers.fields, request.data.authority, tls)
    return without_tokens(head) if has_signature(head) else None


def without_tokens(head: RequestHead) -> RequestHead:
    """Return the head without agent tokens in Authorization, which are looked up separately and never signed."""
    kept = [field for field in head.headers if not (field[0].lower() == b"authorization" and is_token(field[1]))]
    return head if len(kept) == len(head.headers) else replace(head, headers=kept)


def is_token(value: bytes) -> bool:
    """Return whether the value of an Authorization header is an agent token."""
    return bool(header_tokens([("authorization", value.decode("latin-1"))], ""))


def claimed_pairs(head: RequestHead) -> list[str]:
    """Return the access keys of agents that a request names, also in a signature that cannot be read."""
    written = [value for name, value in head.headers if name.lower() == b"authorization"]
    query = unquote_to_bytes(head.target.partition(b"?")[2])
    text = b"\n".join((*written, query)).decode("latin-1")
    return list(dict.fromkeys(ACCESS_KEY.findall(text)))
