"""The errors that clients get when a request or response fails on the wire."""

from __future__ import annotations

from wirekey.core.errors import Fault, Refusal

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


BODY_RATE = 1024
"""Bytes of a request body in a second, at least. Every network that people use is faster."""


def body_too_slow(seconds: float) -> Refusal:
    """Return the error for a body that arrived at less than `BODY_RATE` over `seconds`."""
    return Refusal(
        408,
        "request_too_slow",
        f"The request body arrived at less than {BODY_RATE} bytes a second over {seconds:g} s (timeouts.client_body).",
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
    """Return the error for a provider that sent nothing for longer than `setting` allows."""
    return Refusal(
        504,
        "upstream_timeout",
        f"The provider sent nothing for {seconds:g} s ({setting}). Try again, or raise {setting}.",
        Fault.PROVIDER,
    )
