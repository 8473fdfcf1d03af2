"""The errors that clients get whose first message is not complete, or comes with too much."""

from __future__ import annotations

from wirekey.core.errors import Fault, Refusal

NO_FIRST_MESSAGE = Refusal(400, "malformed", "The first message of the WebSocket cannot be read.")
NOTHING_ASKED = "no_first_message: the client closed the WebSocket before its first message, so nothing was sent"
"""The reason of a call whose client saw an open WebSocket, although no provider was connected."""
SENT_TOO_EARLY = Refusal(
    413,
    "request_too_large",
    "The client sent more than 1 MiB before the provider had opened the WebSocket. Wait for its first message.",
)
ENDING = Refusal(
    503, "stopping", "Wirekey is stopping, and the WebSocket had no first message. Open it again.", Fault.OPERATOR
)


def first_message_too_slow(seconds: float) -> Refusal:
    """Return the error for a WebSocket whose first message was not complete in time."""
    return Refusal(
        408,
        "request_too_slow",
        f"The first message of the WebSocket was not complete within {seconds:g} s (timeouts.first_byte). It names the "
        "model, so nothing is sent before it.",
    )
