"""The host names of the providers: a fixed table, and Bedrock's one name per region."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

FIXED_HOSTS = {
    "api.openai.com": "openai",
    "generativelanguage.googleapis.com": "gemini",
    "api.anthropic.com": "anthropic",
}
DEFAULT_REGION = "us-east-1"


def bedrock_host(region: str) -> str:
    """Give the Bedrock runtime's name in `region`, which the configuration has checked."""
    return f"bedrock-runtime.{region}.amazonaws.com"


def provider_hosts(regions: Iterable[str] = (DEFAULT_REGION,)) -> dict[str, str]:
    """Give provider host → provider name, with Bedrock in each of `regions`."""
    return FIXED_HOSTS | {bedrock_host(region): "bedrock" for region in regions}
