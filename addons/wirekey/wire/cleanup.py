"""Taking apart the layers of ended streams and connections, so that their memory is free at once.

mitmproxy's layers refer to each other, and to themselves by the bound methods that are their states. The garbage
collector finds such cycles late. Until then, what a client has not read would stay in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mitmproxy.proxy.layers.http import Http1Client, Http2Client, HttpLayer, HttpStream
from mitmproxy.proxy.layers.http._http2 import Http2Connection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mitmproxy.proxy.layer import Layer

NO_STREAM = -1
"""The id of a stream that does not exist: events for it are dropped."""


def detach_stream(connection: Layer, stream_id: int) -> None:
    """Make an upstream connection drop what it still receives for a stream, whose next attempt may reuse its id.

    The late end of a cancelled attempt would otherwise be taken for the end of the next one.
    """
    inner = connection.context.layers[-1]
    if isinstance(inner, Http1Client) and inner.stream_id == stream_id:
        inner.stream_id = NO_STREAM
    elif isinstance(inner, Http2Client):
        upstream_id = inner.our_stream_id.pop(stream_id, None)
        if upstream_id is not None:
            inner.their_stream_id[upstream_id] = NO_STREAM


class StreamTable(dict[int, Any]):
    """The streams of a connection by id. A stream that is removed is kept in `dropped` until it is taken apart."""

    def __init__(self) -> None:
        super().__init__()
        self.dropped: list[Layer] = []

    def pop(self, stream_id: int, *default: Any) -> Any:
        """Remove and return a stream."""
        found = super().pop(stream_id, *default)
        if found is not None:
            self.dropped.append(found)
        return found

    def release_dropped(self, awaited: Iterable[object]) -> None:
        """Release the dropped streams, except the `awaited` ones, which wait for a command's completion."""
        dropped, self.dropped = self.dropped, []
        kept = set(map(id, awaited)) if dropped else ()
        for stream in dropped:
            if stream._paused is None and id(stream) not in kept:  # noqa: SLF001  # mitmproxy has no other way to ask
                discard_body(stream)
                clear_layer(stream)


def release_layers(first: Iterable[Layer | None]) -> None:
    """Release these layers and all layers linked to them. None of them may be used afterwards."""
    found: dict[int, Layer] = {}
    left = [layer for layer in first if layer is not None]
    while left:
        layer = left.pop()
        if id(layer) not in found:
            found[id(layer)] = layer
            left += linked_layers(layer)
    for layer in found.values():
        discard_body(layer)
    for layer in found.values():
        clear_layer(layer)


def linked_layers(layer: Any) -> list[Layer]:
    """Return the layers that a layer refers to."""
    found = [getattr(layer, name, None) for name in ("layer", "child_layer", "http")]
    if context := getattr(layer, "context", None):
        found += context.layers
    if isinstance(layer, HttpLayer):
        found += [*layer.streams.values(), *layer.connections.values()]
    return [each for each in found if each is not None]


def clear_layer(layer: Layer) -> None:
    """Delete the attributes of a layer, and so its references to other layers."""
    if isinstance(layer, Http2Connection):
        vars(layer.h2_conn).clear()
    if context := vars(layer).get("context"):
        context.layers.clear()
    vars(layer).clear()


def discard_body(layer: Any) -> None:
    """Release the request body of a stream, and its spool file. Other layers have none."""
    if isinstance(layer, HttpStream) and hasattr(layer, "discard_body"):
        layer.discard_body()
