"""What a program with a `base_url` calls: whose path it is, and the path that the provider knows. Pure.

A provider's host is never made of what the client wrote: it comes out of a fixed table, by a name of the path's
prefix and, for AWS, by a region that the configuration allows. The rest of the path is judged where all paths are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.egress.hosts import RUNTIME, bedrock_hosts
from wirekey.providers.bedrock import Bedrock
from wirekey.providers.bedrock.services import service_of
from wirekey.providers.gemini.requests import ACTIONS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

PREFIXES = {f"/api/v1/{name}": name for name in ("gemini", "openai", "bedrock", "anthropic")}

AT_THE_ROOT = (
    (r"/model/[^/]+/(?:invoke|invoke-with-response-stream|converse|converse-stream|count-tokens)", "bedrock"),
    (r"/v1/messages(?:/.*)?", "anthropic"),
    (r"/(?:upload/|download/)?v1(?:beta|alpha)/.*", "gemini"),
    (r"/(?:upload|download)/v1/.*", "gemini"),
    (rf"/v1/(?:models|tunedModels)/[^/]+:(?:{'|'.join(ACTIONS)})", "gemini"),
    (r"/v1/.*", "openai"),
)
"""(pattern of the raw path, provider); the first match wins."""
OF_SEVERAL = (
    ("anthropic-version", re.compile(r"/v1/(?:models|files)(?:/.*)?"), "anthropic"),
    ("x-goog-api-client", re.compile(r"/v1/(?:models|tunedModels|files|cachedContents|batches)(?:/.*)?"), "gemini"),
)
"""(header that only this provider's SDKs send, pattern, provider): paths that would be OpenAI's without the header."""
MODELS = re.compile(r"/(?:v1|v1beta|v1alpha)/models(?:/[^/]+)?")
"""Where it is asked which models there are: at the root, of all providers."""

_BEDROCK = Bedrock()


@dataclass(frozen=True, slots=True)
class Direction:
    """`path`: raw, as the provider knows it, without the query. `by_model`: the model may lead to another provider.

    `own_models`: a question for models is answered here, in the format of `provider`.
    """

    provider: str
    path: str
    by_model: bool = False
    own_models: bool = False


def direction_of(path: str, headers: Mapping[str, str]) -> Direction | None:
    """Give where a raw path without its query leads; None: nowhere. `headers` by lower-case name."""
    for prefix, provider in PREFIXES.items():
        if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] == "/":
            return Direction(provider, path[len(prefix) :])
    provider = next((provider for pattern, provider in AT_THE_ROOT if re.fullmatch(pattern, path)), "")
    if provider == "openai":
        told = (name for header, pattern, name in OF_SEVERAL if header in headers and pattern.fullmatch(path))
        provider = next(told, provider)
    models = MODELS.fullmatch(path) is not None
    return Direction(provider, path, by_model=provider == "openai", own_models=models) if provider else None


def is_geminis(model: str | None) -> bool:
    """Tell whether a model that is asked for in OpenAI's format is one of Google's."""
    return model is not None and model.removeprefix("models/").startswith("gemini-")


def bedrock_host_of(method: str, path: str, region: str, allowed: Collection[str]) -> str | None:
    """Give the host of Bedrock that has this operation in `region`; None where none of `allowed` hosts is it."""
    operation = _BEDROCK.match_operation(method, path, {})
    service = service_of(operation.name) if operation else RUNTIME
    hosts = bedrock_hosts(region)
    return next((host for host, stands_for in hosts.items() if stands_for.service == service and host in allowed), None)
