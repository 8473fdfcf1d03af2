"""Taking apart the layers of ended streams and connections, so that their memory is free at once.

mitmproxy's layers refer to each other, and to themselves by the bound methods that are their states. The garbage
collector finds such cycles late. Until then, what a client has not read would stay in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mitmproxy.proxy.layers.http import HttpLayer
from mitmproxy.proxy.layers.http._http2 import Http2Connection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mitmproxy.proxy.layer import Layer


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
