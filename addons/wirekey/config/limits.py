"""The settings `timeouts` and `limits`."""

from __future__ import annotations

from pydantic import ByteSize, Field

from wirekey.config.group import ConfigGroup
from wirekey.config.values import Count, Pause, Seconds, Size
from wirekey.core.json_size import VALUES_LIMIT


class TimeoutsConfig(ConfigGroup):
    """The setting `timeouts`. All values are in seconds."""

    connect: Seconds = Field(default=10.0, description="Time to connect to an upstream, including TLS.")
    first_byte: Seconds = Field(
        default=120.0, description="Time from the end of a request to the first byte of its response."
    )
    idle: Seconds = Field(default=120.0, description="Longest pause within a response.")
    client_first_byte: Seconds = Field(
        default=10.0, description="Time from the start of a client connection to its first byte."
    )
    client_hello: Seconds = Field(
        default=10.0,
        description="Time for the ClientHello of a client's TLS handshake, and again for the rest of the handshake.",
    )
    client_head: Seconds = Field(
        default=10.0,
        description="Time for the head of a request, from its first byte. Until a connection has identified its "
        "agent, the time starts with the connection or with the end of the previous response.",
    )
    client_body: Seconds = Field(
        default=10.0,
        description="Period in which at least 1 KiB of a request body must arrive for each second of it.",
    )
    drain: Seconds = Field(
        default=30.0,
        description="Time that open calls have to finish after SIGTERM. The remaining ones are ended and recorded as "
        "`interrupted`. A second SIGTERM, or Ctrl-C, ends Wirekey at once.",
    )
    drain_delay: Pause = Field(
        default=0.0,
        description="Time after SIGTERM for which connections are still accepted, while `/ready` returns 503 already. "
        "A load balancer needs it to notice.",
    )


class LimitsConfig(ConfigGroup):
    """The setting `limits`: sizes and counts that a client cannot exceed."""

    body_bytes: Size = Field(default=ByteSize(64 * 1024 * 1024), description="Largest request body.")
    json_values: Count = Field(
        default=VALUES_LIMIT,
        description="Most values in a JSON request body: members and elements at every level. They are counted before "
        "the body is decoded. A request with more gets 413.",
    )
    header_bytes: Size = Field(default=ByteSize(64 * 1024), description="Largest head of a request.")
    headers: Count = Field(default=100, description="Most headers in a request.")
    connections_per_client: Count = Field(
        default=256,
        description="Most open connections of one client address, counted for each agent and for connections without "
        "an agent. When there are too many without an agent, the oldest of them is closed.",
    )
    held_bytes: Size = Field(
        default=ByteSize(1024 * 1024 * 1024),
        description="Most bytes of request bodies that Wirekey holds at the same time, in memory and in the `state` "
        "folder. They are reserved before a body is read. One agent may hold a quarter of them, but at least "
        "`body_bytes`, and so may one client address until its agent is known.",
    )
    disk_reserve: Size = Field(
        default=ByteSize(64 * 1024 * 1024),
        description="Disk space that is kept free for the audit log in the `state` folder. With less free space, large "
        "request bodies are refused.",
    )
    translated_response: Size = Field(
        default=ByteSize(16 * 1024 * 1024),
        description="Largest response that is translated as a whole, and the most memory of a stream to a client of "
        "OpenAI's Responses, whose last event repeats the stream. With more, the client gets an error.",
    )
