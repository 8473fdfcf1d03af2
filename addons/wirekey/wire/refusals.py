"""The errors that clients get when a request or response fails on the wire."""

from __future__ import annotations

from wirekey.errors import Fault, Refusal

CANNOT_SEND = Refusal(503, "wirekey_error", "Wirekey could not prepare the request for the provider.", Fault.WIREKEY)
UPSTREAM_UNREADABLE = Refusal(
    502,
    "upstream_unreadable",
    "The provider's response is not valid HTTP. If you have set providers.NAME.upstream_url, check it.",
    Fault.PROVIDER,
)
UPSTREAM_RESET = Refusal(
    502, "upstream_reset", "The provider closed the connection before it responded. Try again.", Fault.PROVIDER
)

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


def body_too_slow(rate: int, seconds: float) -> Refusal:
    """Return the error for a body that arrived at less than `rate` bytes a second over so many seconds."""
    return Refusal(
        408,
        "request_too_slow",
        f"The request body arrived at less than {rate} bytes a second over {seconds:g} s (limits.body_rate, "
        "timeouts.client_body).",
    )


def call_too_slow(seconds: float) -> Refusal:
    """Return the error for a call that took longer than the total that its route allows."""
    return Refusal(
        504,
        "upstream_timeout",
        f"The call took longer than its route allows ({seconds:g} s). Raise timeouts.total of the route.",
        Fault.PROVIDER,
    )


def provider_too_slow(setting: str, seconds: float) -> Refusal:
    """Return the error for a provider that sent nothing for as long as `setting` allows."""
    return Refusal(
        504,
        "upstream_timeout",
        f"The provider sent nothing for {seconds:g} s ({setting}). Try again, or raise {setting}.",
        Fault.PROVIDER,
    )
