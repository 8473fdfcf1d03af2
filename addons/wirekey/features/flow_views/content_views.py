"""mitmproxy's content views for streams, selected automatically if they fit and the response was kept."""

from __future__ import annotations

from mitmproxy import contentviews, http

from wirekey.features.flow_views.stream_text import (
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
    """A view for one form of stream: its name, its media type, and its reader."""

    title: str
    media_type: str
    reader: type[Reader]

    @property
    def name(self) -> str:
        """The name in the list of views."""
        return self.title

    def prettify(self, data: bytes, metadata: contentviews.Metadata) -> str:
        """Return the transcript of the stream."""
        return transcript(self.reader(), data)

    def render_priority(self, data: bytes, metadata: contentviews.Metadata) -> float:
        """Return a high priority if the media type fits."""
        return FITS if data and metadata.content_type == self.media_type else DOES_NOT_FIT


class AwsEventStream(StreamContentview):
    """The view for Bedrock's event streams."""

    title, media_type, reader = "AWS event stream", "application/vnd.amazon.eventstream", EventStreamTranscript


class ServerSentEvents(StreamContentview):
    """The view for server-sent events."""

    title, media_type, reader = "Server-sent events", "text/event-stream", SseTranscript


class JsonArrayStream(StreamContentview):
    """The view for Gemini's stream without `alt=sse`, recognised among other JSON by the called method."""

    title, media_type, reader = "JSON array stream", JSON_TYPE, JsonArrayTranscript

    def render_priority(self, data: bytes, metadata: contentviews.Metadata) -> float:
        """Return a high priority for an array from a streaming method."""
        flow = metadata.flow
        called = flow.request.path.partition("?")[0] if isinstance(flow, http.HTTPFlow) else ""
        fits = called.endswith(STREAMING_METHOD) and data.lstrip().startswith(b"[")
        return super().render_priority(data, metadata) if fits else DOES_NOT_FIT


VIEWS = (AwsEventStream, ServerSentEvents, JsonArrayStream)


def add() -> None:
    """Register the views with mitmproxy."""
    for view in VIEWS:
        contentviews.add(view)
