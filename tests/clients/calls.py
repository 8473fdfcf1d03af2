"""Which clients there are, and what one call looked like on both sides."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.support.conversation import Outcome
from wirekey_simulator.exchange import Seen

SDKS = [
    ("node", "openai", "openai"),
    ("node", "anthropic", "anthropic"),
    ("node", "gemini", "gemini"),
    ("node", "bedrock", "bedrock"),
    ("node", "bedrock-http1", "bedrock"),
    ("python", "openai", "openai"),
    ("python", "openai-async", "openai"),
    ("python", "anthropic", "anthropic"),
    ("python", "anthropic-x-api-key", "anthropic"),
    ("python", "anthropic-async", "anthropic"),
    ("python", "gemini", "gemini"),
    ("python", "gemini-async", "gemini"),
    ("python", "bedrock", "bedrock"),
    ("python", "mistral", "mistral"),
    ("python", "mistral-async", "mistral"),
]
"""Language, client, provider."""
LIBRARIES = [
    ("node", "fetch", "openai"),
    ("node", "https", "openai"),
    ("python", "requests", "openai"),
    ("python", "httpx-http2", "openai"),
    ("python", "urllib", "openai"),
]
CREDENTIALS = (b"authorization", b"x-api-key", b"x-goog-api-key")
OF_ONE_CONNECTION = (b"connection", b"keep-alive", b"te")
DIFFERENT_EACH_TIME = (b"amz-sdk-invocation-id",)
BOTO_FEATURES = re.compile(rb" m/[A-Za-z0-9,]+")
"""What boto3 says of itself in User-Agent: in no fixed order, and whether it was given an endpoint."""
USAGE_WISH = b'"stream_options":{"include_usage":true},'
"""What Wirekey puts into a streamed chat request of OpenAI whose client did not ask for its usage."""


def named(clients):
    """Parameters for pytest, named python-openai."""
    import pytest

    return [pytest.param(*client, id="-".join(client[:2])) for client in clients]


@dataclass(frozen=True)
class Made:
    """One call: what its program got, and what arrived at the provider."""

    outcome: Outcome
    arrived: list[Seen]

    @property
    def request(self) -> Seen:
        (request,) = self.arrived
        return request


def as_sent(seen: Seen) -> dict[str, object]:
    """Return all of a request that must arrive as the client sent it: header names in their case and order."""
    kept = [
        (name, BOTO_FEATURES.sub(b"", value))
        for name, value in seen.headers
        if name.lower() not in (*CREDENTIALS, *OF_ONE_CONNECTION, *DIFFERENT_EACH_TIME, b"content-length")
    ]
    lengths = [int(value) for name, value in seen.headers if name.lower() == b"content-length"]
    return {
        "line": (seen.method, seen.target, seen.protocol),
        "headers": kept,
        "body": seen.body.replace(USAGE_WISH, b""),
        "length is right": lengths in ([], [len(seen.body)]),
    }
