"""The setting `limits.websocket`."""

from __future__ import annotations

from pydantic import ByteSize, Field

from wirekey.config.group import ConfigGroup
from wirekey.config.values import Count, Size


class WebSocketLimitsConfig(ConfigGroup):
    """The setting `limits.websocket`. Exceeding one closes the connection."""

    message_bytes: Size = Field(default=ByteSize(16 * 1024 * 1024), description="Largest message, decompressed.")
    messages_per_second: Count = Field(
        default=100, description="Most messages of the client a second, over ten seconds."
    )
    bytes_per_second: Size = Field(
        default=ByteSize(10 * 1024 * 1024), description="Most bytes a second in each direction, over ten seconds."
    )


class WebSocketSetting(ConfigGroup):
    """The setting that is added to `limits`."""

    websocket: WebSocketLimitsConfig = Field(
        default=WebSocketLimitsConfig(), description="Limits of the messages of a WebSocket."
    )
