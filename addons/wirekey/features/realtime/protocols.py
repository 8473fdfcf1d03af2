"""The protocols of connections, by provider and the operation that opens them. A new one is a line here."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from wirekey.core.calls.conversations import LiveApi
from wirekey.feature_registry import parts
from wirekey.features.realtime.bedrock_events import TwoWayEvents
from wirekey.features.realtime.gemini import GeminiLive
from wirekey.features.realtime.openai import OpenAiRealtime
from wirekey.features.realtime.openai_responses import OpenAiResponsesMessages
from wirekey.providers.registry import family_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.features.realtime.messages import RealtimeProtocol

PROTOCOLS: Mapping[tuple[str, str], RealtimeProtocol] = MappingProxyType(
    {
        ("openai", "realtime"): OpenAiRealtime(),
        ("openai", "responses.connect"): OpenAiResponsesMessages(),
        ("gemini", "realtime"): GeminiLive(),
        ("gemini", "realtime.constrained"): GeminiLive(),
        ("bedrock", "invoke-with-bidirectional-stream"): TwoWayEvents(),
        **{(part.provider, "realtime"): GeminiLive(part.facts_of_setup) for part in parts(LiveApi)},
    }
)


def protocol_of(provider: str, operation: str) -> RealtimeProtocol:
    """Return the protocol of a connection to a provider, which may be a custom one."""
    return PROTOCOLS[family_of(provider), operation]
