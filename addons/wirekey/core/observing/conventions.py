"""Providers, operations and counts in the terms of OpenTelemetry's semantic conventions for generative AI.

Source: https://github.com/open-telemetry/semantic-conventions-genai, docs/registry/attributes/gen-ai.md.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from wirekey.core.call import Outcome
from wirekey.providers.formats import EMBEDDINGS, FORMATS
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from wirekey.core.call import Call

OPERATION_NAMES = {
    **{name: form.otel_operation for form in FORMATS.values() if form.otel_operation for name in form.conversations},
    **dict.fromkeys(EMBEDDINGS, "embeddings"),
    **{name: named for each in PROVIDERS.values() for name, named in each.otel_operations.items()},
}
"""`gen_ai.operation.name` by our operation, if the conventions have a name for it. Otherwise it is our own name."""

OTHER = "_OTHER"
"""The name that the conventions use for any other value."""
STATUSES = {status.value: str(status.value) for status in HTTPStatus}

CODE = re.compile(r"[a-z][a-z0-9_]{0,63}(?=: |$)")
NO_ERROR = (Outcome.COMPLETED, Outcome.CLIENT_CANCELLED, Outcome.DECLINED)


def provider_name(call: Call) -> str | None:
    """Return `gen_ai.provider.name`, or None if the provider is unknown."""
    return otel_name(call.provider) if call.provider else None


def otel_name(provider: str) -> str:
    """Return the conventions' name of a provider; its own name if they have none."""
    return PROVIDERS[provider].otel_name if provider in PROVIDERS else provider


def operation_name(call: Call) -> str | None:
    """Return `gen_ai.operation.name`, or None if the call was refused before it was known."""
    if call.operation is None:
        return None
    return OPERATION_NAMES.get(call.operation.name, call.operation.name)


def reason_code(call: Call) -> str | None:
    """Return the code that begins a policy reason (`unknown_agent`), never its text, or None if it has none."""
    found = CODE.match(call.policy_reason) if call.policy_reason else None
    return found[0] if found else None


def error_type(call: Call) -> str | None:
    """Return `error.type`, for metrics and traces alike, or None if the call succeeded.

    It is the code of Wirekey's refusal, the HTTP status of a provider's error, or the outcome, never text of a
    provider. A client that disconnects is not an error of the call.
    """
    if call.outcome in NO_ERROR:
        return None
    if call.refusal_code:
        return call.refusal_code
    if call.outcome is Outcome.DENIED:
        return reason_code(call) or "denied"
    if call.outcome is Outcome.UPSTREAM_ERROR and call.status is not None and call.status >= HTTPStatus.BAD_REQUEST:
        return STATUSES.get(call.status, OTHER)
    return call.outcome.value if call.outcome else OTHER
