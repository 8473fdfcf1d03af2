"""Our providers, operations and counts in the words of OpenTelemetry's semantic conventions for generative AI.

Source: https://github.com/open-telemetry/semantic-conventions-genai, docs/registry/attributes/gen-ai.md.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from wirekey.call import Outcome
from wirekey.providers import PROVIDERS

if TYPE_CHECKING:
    from wirekey.call import Call
    from wirekey.operation import Usage

OPERATION_NAMES = {
    "chat.completions": "chat",
    "responses": "chat",
    "messages": "chat",
    "converse": "chat",
    "converse-stream": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
    "generateContent": "generate_content",
    "streamGenerateContent": "generate_content",
    "embedContent": "embeddings",
    "batchEmbedContents": "embeddings",
    "invoke-agent": "invoke_agent",
    "retrieve": "retrieval",
}
"""`gen_ai.operation.name` by our operation, where the conventions have a word; else it is our own name."""

OTHER = "_OTHER"
"""The conventions' word for a value without a name here."""
STATUSES = {status.value: str(status.value) for status in HTTPStatus}

CODE = re.compile(r"[a-z][a-z0-9_]{0,63}(?=: |$)")
NO_ERROR = (Outcome.COMPLETED, Outcome.CLIENT_CANCELLED)


def provider_name(call: Call) -> str | None:
    """Return `gen_ai.provider.name`, or None if the call is of no provider."""
    return otel_name(call.provider) if call.provider else None


def otel_name(provider: str) -> str:
    """Return the conventions' name of a provider; its own name if they have none."""
    return PROVIDERS[provider].otel_name if provider in PROVIDERS else provider


def operation_name(call: Call) -> str | None:
    """Give `gen_ai.operation.name`; None where the call was refused before it was known."""
    if call.operation is None:
        return None
    return OPERATION_NAMES.get(call.operation.name, call.operation.name)


def all_input_tokens(provider: str | None, usage: Usage) -> int | None:
    """Give all tokens that were read, those from and into the provider's cache too, as the conventions count."""
    if usage.input_tokens is None or provider not in PROVIDERS or not PROVIDERS[provider].counts_cached_apart:
        return usage.input_tokens
    return usage.input_tokens + (usage.cached_input_tokens or 0) + (usage.cache_write_tokens or 0)


def reason_code(call: Call) -> str | None:
    """Give the code that a policy reason begins with (`unknown_agent`), never its text; None where there is none."""
    found = CODE.match(call.policy_reason) if call.policy_reason else None
    return found[0] if found else None


def error_type(call: Call) -> str | None:
    """Return `error.type`, for metrics and traces alike; None where the call went well.

    It is the code of Wirekey's own refusal, the HTTP status of a provider's error, or how the call ended, and never a
    provider's word. A client that goes away is no error of the call.
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
