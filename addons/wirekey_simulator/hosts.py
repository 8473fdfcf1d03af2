"""The provider that a request is for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wirekey.core.egress.hosts import region_of

if TYPE_CHECKING:
    from wirekey_simulator.exchange import SimulatedRequest

HOSTS = {
    "api.openai.com": "openai",
    "generativelanguage.googleapis.com": "gemini",
    "api.anthropic.com": "anthropic",
    "cloudcode-pa.googleapis.com": "code_assist",
    "oauth2.googleapis.com": "google_oauth",
    "sts.googleapis.com": "google_identity",
    "iamcredentials.googleapis.com": "google_identity",
    "cloudresourcemanager.googleapis.com": "google_identity",
}
REGIONS = (
    "us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1",
    "eu-central-1", "eu-west-1", "eu-west-2", "eu-west-3", "eu-north-1", "eu-south-1",
    "ap-northeast-1", "ap-northeast-2", "ap-south-1", "ap-southeast-1", "ap-southeast-2",
)  # fmt: skip
BEDROCK_HOSTS = tuple(f"bedrock-runtime.{region}.amazonaws.com" for region in REGIONS)
BEDROCK_PATHS = (
    "/model/",
    "/foundation-models",
    "/inference-profiles",
    "/knowledgebases/",
    "/retrieveAndGenerate",
    "/agents/",
)
GEMINI_ACTION = re.compile(r"/v1/(?:models|tunedModels|files|cachedContents|operations)/[^/]+:[A-Za-z]+")


VERTEX_HOST = re.compile(r"(?:[a-z0-9-]+-)?aiplatform\.(?:(?:us|eu)\.rep\.)?googleapis\.com")
VERTEX_PATH = re.compile(r"/v1(?:beta1)?/(?:projects/[^/]+/locations|publishers)/|//?ws/google\.cloud\.aiplatform\.")


def provider_of_host(host: str | None) -> str | None:
    """Return the provider with this host name, which may have a port, or None."""
    name = (host or "").rsplit(":", 1)[0] if ":" in (host or "") else host or ""
    if VERTEX_HOST.fullmatch(name):
        return "vertex"
    return HOSTS.get(name) or ("bedrock" if region_of(name) else None)


def provider_of(request: SimulatedRequest) -> str | None:
    """Return the provider by host and SNI if they are a provider's, else by the path, or None."""
    return provider_of_host(request.authority) or provider_of_host(request.sni) or _provider_of_path(request)


def _provider_of_path(request: SimulatedRequest) -> str | None:
    path = request.path
    if VERTEX_PATH.match(path):
        return "vertex"
    if path.startswith("/v1internal"):
        return "code_assist"
    if path in ("/token", "/tokeninfo"):
        return "google_oauth"
    if path.startswith(BEDROCK_PATHS):
        return "bedrock"
    of_google = ("/v1beta/", "/upload/v1beta/", "/upload/v1/", "/ws/google.ai.generativelanguage.", "//ws/google.ai.")
    if path.startswith(of_google) or _is_gemini_action(request) or "x-goog-api-client" in request.fields:
        return "gemini"
    if path.startswith("/openai/"):
        return "azure"
    if path.startswith("/api/v1/"):
        return "compatible"
    if path.startswith("/v1/messages") or (path.startswith("/v1/") and "anthropic-version" in request.fields):
        return "anthropic"
    return "openai" if path.startswith("/v1/") else None


def _is_gemini_action(request: SimulatedRequest) -> bool:
    """Return whether this is `POST /v1/models/NAME:ACTION`.

    OpenAI's fine-tuned models have colons in their names too.
    """
    return request.method == "POST" and GEMINI_ACTION.fullmatch(request.path) is not None
