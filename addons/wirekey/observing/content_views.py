"""mitmproxy's content views of streams: chosen by themselves for what they fit, where an answer was kept at all."""

from __future__ import annotations

from mitmproxy import contentviews, http

from wirekey.observing.stream_text import (
    EventStreamTranscript,
    JsonArrayTranscript,
    Reader,
    SseTranscript,
    transcript,
)

FITS = 2.0
"""Above the priority 1 of mitmproxy's own views."""
DOES_NOT_FIT = -1.0
JSON_TYPE = "application/json"
STREAMING_METHOD = ":streamGenerateContent"


class StreamContentview(contentviews.Contentview):
    """One form of stream: its name in the list of views, its media type, and what reads it."""

    title: str
    media_type: str
    reader: type[Reader]

    @property
    def name(self) -> str:
        return self.title

    def prettify(self, data: bytes, metadata: contentviews.Metadata) -> str:
        return transcript(self.reader(), data)

    def render_priority(self, data: bytes, metadata: contentviews.Metadata) -> float:
        return FITS if data and metadata.content_type == self.media_type else DOES_NOT_FIT


class AwsEventStream(StreamContentview):
    title, media_type, reader = "AWS event stream", "application/vnd.amazon.eventstream", EventStreamTranscript


class ServerSentEvents(StreamContentview):
    title, media_type, reader = "Server-sent events", "text/event-stream", SseTranscript


class JsonArrayStream(StreamContentview):
    """Gemini's stream without `alt=sse`: told from other JSON by the method that was called."""

    title, media_type, reader = "JSON array stream", JSON_TYPE, JsonArrayTranscript

    def render_priority(self, data: bytes, metadata: contentviews.Metadata) -> float:
        flow = metadata.flow
        called = flow.request.path.partition("?")[0] if isinstance(flow, http.HTTPFlow) else ""
        fits = called.endswith(STREAMING_METHOD) and data.lstrip().startswith(b"[")
        return super().render_priority(data, metadata) if fits else DOES_NOT_FIT


VIEWS = (AwsEventStream, ServerSentEvents, JsonArrayStream)


def add() -> None:
    for view in VIEWS:
        contentviews.add(view)
