"""The common part of OpenAI's two formats, Chat Completions and Responses."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from wirekey.features.translation.failures import OWN_CODES, is_context_too_long
from wirekey.features.translation.format_rules import NameLimits
from wirekey.features.translation.own_tools import OwnTools

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.features.translation import neutral as n


OPTIONS = frozenset({
    "temperature", "top_p", "max_tokens", "verbosity", "user", "safety_identifier", "metadata", "store", "service_tier",
    "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "logprobs", "top_logprobs",
})  # fmt: skip
OWN_TOOLS = OwnTools("OpenAI", (
    "web_search_preview", "web_search", "file_search", "code_interpreter", "computer_use_preview", "computer",
    "image_generation", "local_shell", "shell", "apply_patch", "mcp_approval_request", "mcp_approval_response",
    "mcp_list_tools", "mcp", "namespace", "tool_search", "compaction", "additional_tools", "program", "custom",
))  # fmt: skip
TOOL_NAMES = NameLimits(re.compile(r"[A-Za-z0-9_-]{1,64}"), 64, letter_first=False)
_ERRORS = {
    401: (401, "authentication_error", "invalid_api_key"), 402: (429, "insufficient_quota", "insufficient_quota"),
    403: (403, "permission_error", None), 404: (404, "invalid_request_error", "model_not_found"),
    408: (408, "server_error", "timeout"), 413: (413, "invalid_request_error", None),
    429: (429, "rate_limit_error", "rate_limit_exceeded"), 503: (503, "server_error", "overloaded"),
    504: (504, "server_error", "timeout"), 529: (503, "server_error", "overloaded"),
}  # fmt: skip


def error(failure: n.ProviderError) -> tuple[int, dict[str, object]]:
    """Return the status and the body of an error."""
    fallback = (failure.status, "invalid_request_error", None) if failure.is_callers else (500, "server_error", None)
    status, kind, code = _ERRORS.get(failure.status, fallback)
    if is_context_too_long(failure):
        status, kind, code = 400, "invalid_request_error", "context_length_exceeded"
    code = failure.code if failure.code in OWN_CODES else code
    return status, {"error": {"message": failure.message, "type": kind, "param": None, "code": code}}


def error_headers(failure: n.ProviderError) -> Mapping[str, str]:
    """Return the header with the milliseconds to wait, if they are no whole seconds."""
    wait = failure.retry_after
    return {"retry-after-ms": str(math.ceil(wait * 1000))} if wait is not None and wait % 1 else {}
