"""Every format in which a provider streams: how to ask for it raw, how its first event ends, how it fails."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.support.running import PATIENCE, PROVIDER_KEYS
from tests.support.sdk_calls import (
    CLAUDE,
    PROMPT,
    anthropic_client,
    bedrock_client,
    gemini_client,
    mistral_client,
    openai_client,
)

HOSTS = {
    "openai": "api.openai.com",
    "gemini": "generativelanguage.googleapis.com",
    "anthropic": "api.anthropic.com",
    "bedrock": "bedrock-runtime.us-east-1.amazonaws.com",
    "mistral": "api.mistral.ai",
}
PLACEHOLDER = "no-key-at-all"
PLACEHOLDERS = dict.fromkeys(PROVIDER_KEYS, PLACEHOLDER)
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": PROMPT}], "stream": True}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]}
MESSAGE = {"max_tokens": 50, "messages": [{"role": "user", "content": PROMPT}]}


def sse_event(data: bytes) -> int:
    """Return the length of the first event, or 0 if it is not complete."""
    ends = [at + len(end) for end in (b"\n\n", b"\r\n\r\n") if (at := data.find(end)) >= 0]
    return min(ends, default=0)


def array_element(data: bytes) -> int:
    """Gemini's array ends an element with the brace that stands at the beginning of a line."""
    return data.find(b"\n}") + 2 if b"\n}" in data else 0


def frame(data: bytes) -> int:
    size = int.from_bytes(data[:4]) if len(data) >= 4 else 0
    return size if 0 < size <= len(data) else 0


@dataclass(frozen=True)
class Format:
    provider: str
    operation: str
    path: str
    body: dict = field(repr=False)
    first_event: Callable[[bytes], int] = sse_event
    without_its_last_event: str = "truncated"
    """How a stream ends in the audit that lacks the event which the provider sends last."""

    @property
    def is_sse(self) -> bool:
        return self.first_event is sse_event


FORMATS = {
    "openai-chat": Format("openai", "chat.completions", "/v1/chat/completions", CHAT, sse_event, "completed"),
    "openai-chat-with-usage": Format(
        "openai",
        "chat.completions",
        "/v1/chat/completions",
        {**CHAT, "stream_options": {"include_usage": True}},
        sse_event,
        "completed",
    ),
    "openai-completions": Format(
        "openai",
        "completions",
        "/v1/completions",
        {"model": "gpt-3.5-turbo-instruct", "prompt": PROMPT, "stream": True},
        sse_event,
        "completed",
    ),
    "openai-responses": Format(
        "openai", "responses", "/v1/responses", {"model": "gpt-4o-mini", "input": PROMPT, "stream": True}
    ),
    "gemini-sse": Format(
        "gemini",
        "streamGenerateContent",
        "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
        CONTENTS,
    ),
    "gemini-array": Format(
        "gemini",
        "streamGenerateContent",
        "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
        CONTENTS,
        array_element,
    ),
    "gemini-openai": Format(
        "gemini",
        "chat.completions",
        "/v1beta/openai/chat/completions",
        {**CHAT, "model": "gemini-2.5-flash"},
        sse_event,
        "completed",
    ),
    "anthropic": Format(
        "anthropic", "messages", "/v1/messages", {"model": "claude-sonnet-4-5", "stream": True, **MESSAGE}
    ),
    "bedrock-converse": Format(
        "bedrock",
        "converse-stream",
        f"/model/{CLAUDE}/converse-stream",
        {"messages": [{"role": "user", "content": [{"text": PROMPT}]}]},
        frame,
        "completed",
    ),
    "bedrock-invoke": Format(
        "bedrock",
        "invoke-with-response-stream",
        f"/model/{CLAUDE}/invoke-with-response-stream",
        {"anthropic_version": "bedrock-2023-05-31", **MESSAGE},
        frame,
        "completed",
    ),
    "mistral-chat": Format(
        "mistral",
        "chat.completions",
        "/v1/chat/completions",
        {**CHAT, "model": "magistral-medium-latest"},
        sse_event,
        "completed",
    ),
    "mistral-fim": Format(
        "mistral",
        "fim.completions",
        "/v1/fim/completions",
        {"model": "codestral-latest", "prompt": "def add(a, b):", "suffix": "return", "stream": True},
        sse_event,
        "completed",
    ),
}


def headers_for(provider: str, path: str, key: str) -> dict[str, str]:
    if provider == "gemini" and "/openai/" not in path:
        return {"x-goog-api-key": key}
    if provider == "anthropic":
        return {"x-api-key": key, "anthropic-version": "2023-06-01"}
    return {"authorization": f"Bearer {key}"}


@dataclass
class Received:
    """One received response: its bytes on the wire, the decoded bytes, and whether it broke off."""

    status: int
    headers: httpx.Headers = field(repr=False)
    raw: bytes = b""
    broke_off: bool = False

    @property
    def body(self) -> bytes:
        """The body with its content-encoding removed, including that of a response that broke off."""
        return b"".join(decoded([self.raw], self.headers))


def decoded(chunks, headers: httpx.Headers) -> Iterator[bytes]:
    """Undo the encoding chunk by chunk, with nothing held back."""
    response = httpx.Response(200, headers=headers)
    decoder = response._get_content_decoder()
    for chunk in chunks:
        yield decoder.decode(chunk)


class OnlyHttp2(ssl.SSLContext):
    """Offers h2 alone: inside a proxy's tunnel httpx offers http/1.1 as well, and first, whatever it was told."""

    def set_alpn_protocols(self, _protocols) -> None:
        super().set_alpn_protocols(["h2"])


def trust(ca: Path, http2: bool = False) -> ssl.SSLContext:
    if not http2:
        return ssl.create_default_context(cafile=ca)
    context = OnlyHttp2(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca)
    return context


class RawWay:
    """Raw requests to the providers: direct to the simulator at `url`, or through the proxy to their own hosts."""

    def __init__(self, ca: Path, url: str | None = None, proxy: str | None = None, http2: bool = False) -> None:
        self.url = url
        self.http2 = http2
        self.client = httpx.Client(
            verify=trust(ca, http2),
            proxy=proxy,
            http1=not http2,
            http2=http2,
            timeout=PATIENCE,
            trust_env=False,
        )

    def request(self, provider: str, method: str, path: str, behaviour: str = "", **content) -> httpx.Request:
        key = PROVIDER_KEYS[provider] if self.url else PLACEHOLDER
        headers = headers_for(provider, path, key) | {"accept-encoding": "gzip, br"} | content.pop("headers", {})
        if behaviour:
            headers["x-simulator"] = behaviour
        return self.client.build_request(
            method, (self.url or f"https://{HOSTS[provider]}") + path, headers=headers, **content
        )

    def open(self, wanted: Format, behaviour: str = "", body: dict | None = None) -> httpx.Response:
        """Ask for a stream; its head is there, its body is not read."""
        headers = {"content-type": "application/json"}
        content = json.dumps(body or wanted.body).encode()
        request = self.request(wanted.provider, "POST", wanted.path, behaviour, content=content, headers=headers)
        return self.client.send(request, stream=True)

    def stream(
        self,
        wanted: Format,
        behaviour: str = "",
        body: dict | None = None,
        at_first_event: Callable[[], None] | None = None,
    ) -> Received:
        response = self.open(wanted, behaviour, body)
        received = Received(response.status_code, response.headers)
        try:
            for chunk in response.iter_raw():
                received.raw += chunk
                if at_first_event and wanted.first_event(received.body):
                    at_first_event()
                    at_first_event = None
        except httpx.HTTPError:
            received.broke_off = True
        finally:
            response.close()
        return received

    def call(self, provider: str, method: str, path: str, behaviour: str = "", **content) -> httpx.Response:
        return self.client.send(self.request(provider, method, path, behaviour, **content))


# Streams as an SDK gives them, one event at a time.


def openai_chunks(way, _):
    return openai_client(way).chat.completions.create(**CHAT)


def openai_events(way, _):
    return openai_client(way).responses.create(model="gpt-4o-mini", input=PROMPT, stream=True)


def gemini_chunks(way, _):
    client = gemini_client(way)  # it closes when it is collected
    yield from client.models.generate_content_stream(model="gemini-2.5-flash", contents=PROMPT)


def anthropic_events(way, _):
    return anthropic_client(way).messages.create(model="claude-sonnet-4-5", stream=True, **MESSAGE)


def mistral_chunks(way, _):
    return mistral_client(way).chat.stream(model=CHAT["model"], messages=CHAT["messages"])


def bedrock_events(way, monkeypatch):
    messages = FORMATS["bedrock-converse"].body["messages"]
    return bedrock_client(way, monkeypatch).converse_stream(modelId=CLAUDE, messages=messages)["stream"]


def bedrock_chunks(way, monkeypatch):
    body = json.dumps(FORMATS["bedrock-invoke"].body)
    client = bedrock_client(way, monkeypatch)
    return client.invoke_model_with_response_stream(modelId=CLAUDE, body=body)["body"]


SDK_STREAMS = {
    "openai-chat": openai_chunks,
    "openai-responses": openai_events,
    "gemini": gemini_chunks,
    "anthropic": anthropic_events,
    "bedrock-converse": bedrock_events,
    "bedrock-invoke": bedrock_chunks,
    "mistral": mistral_chunks,
}
