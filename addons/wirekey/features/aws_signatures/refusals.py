"""The refusals of calls by their AWS signature."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.errors import Refusal

if TYPE_CHECKING:
    from wirekey.core.signing.refusal import SignatureRefused

FOREIGN_PAIR = Refusal(
    403,
    "unknown_pair",
    "No agent has the AWS access key that signed the request. Sign with the agent's own pair (wirekey agents "
    "aws-key NAME), or use an agent token in the proxy URL.",
    error_type="UnrecognizedClientException",
)
REVOKED = Refusal(401, "unknown_agent", "The agent of this key pair was revoked just now.")


def refusal_of(refused: SignatureRefused) -> Refusal:
    """Return the refusal of a call whose signature was refused."""
    return Refusal(403, "signature_refused", refused.message, error_type=refused.code)
