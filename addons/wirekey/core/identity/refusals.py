"""The refusals of calls whose agent is unknown, ambiguous or not the right one."""

from __future__ import annotations

from wirekey.core.errors import Refusal

UNKNOWN_AGENT = Refusal(
    401,
    "unknown_agent",
    "No agent has this token, or the agent was revoked or suspended. Make one with: wirekey agents add NAME. Use it in "
    "the proxy URL (http://NAME:TOKEN@host:port) or in place of the API key.",
)
NO_AGENT = Refusal(
    401,
    "no_agent",
    "The call has no agent token. Use one (wk_…) in the proxy URL (http://NAME:TOKEN@host:port) or in place of the "
    "API key. Make one with: wirekey agents add NAME.",
)
TWO_AGENTS = Refusal(
    401,
    "agents_disagree",
    "The call names two different agents. Its proxy URL, API keys and AWS signature must all belong to one agent.",
)
TWO_UPLOADS = Refusal(400, "malformed", "The request names more than one upload_id.")
UNKNOWN_UPLOAD = Refusal(
    403,
    "unknown_upload",
    "This upload_id is unknown. The upload was not begun here, or too long ago, or before Wirekey was restarted. "
    "Begin the upload again.",
)
UPLOAD_OF_ANOTHER = Refusal(
    403, "upload_of_another_agent", "Another agent began this upload. Begin a new one with your own token."
)
