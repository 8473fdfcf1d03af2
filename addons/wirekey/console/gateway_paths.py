"""Whose path it is that a program with a `base_url` calls. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wirekey.console.request import Request

BY_PATH = (
    (r"/api/v1/gemini/.*", "gemini"),
    (r"/api/v1/openai/.*", "openai"),
    (r"/api/v1/bedrock/.*", "bedrock"),
    (r"/api/v1/anthropic/.*", "anthropic"),
    (r"/model/[^/]+/(?:invoke|invoke-with-response-stream|converse|converse-stream)", "bedrock"),
    (r"/v1/messages(?:/.*)?", "anthropic"),
    (r"/(?:upload/)?v1beta/.*", "gemini"),
    (r"/v1/models/[^/]+:[^/]+", "gemini"),
    (r"/v1/.*", "openai"),
)
"""(pattern of the raw path, provider); the first match wins."""

OF_TWO = re.compile(r"/v1/models(?:/[^/:]+)?")
"""Anthropic's where the request says a version of its interface."""


def provider_of(request: Request) -> str | None:
    """Give the provider whose path it is; None: nobody's."""
    if OF_TWO.fullmatch(request.path) and request.values("anthropic-version"):
        return "anthropic"
    return next((provider for pattern, provider in BY_PATH if re.fullmatch(pattern, request.path)), None)
