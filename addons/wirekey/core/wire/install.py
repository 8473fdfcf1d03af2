"""Replacing parts of mitmproxy with the classes of the wire layer.

These parts are internals of mitmproxy. `install` therefore checks its version first, and refuses an unknown one before
it replaces anything.
"""

from __future__ import annotations

import os
from asyncio import sslproto
from typing import TYPE_CHECKING

from mitmproxy import ctx, version
from mitmproxy.addons.next_layer import NextLayer
from mitmproxy.proxy import commands, layer, mode_servers
from mitmproxy.proxy.layers import http as http_layers
from mitmproxy.proxy.layers.http import HttpLayer, _http1, _http2

from wirekey.core.credentials.agent_tokens import text_without_tokens
from wirekey.core.wire.connecting import feed_tls_after_reset
from wirekey.core.wire.connection_handler import WireConnectionHandler, connection_handlers
from wirekey.core.wire.http1 import BoundedHttp1Client, TrailerDroppingReader, bare_error_response
from wirekey.core.wire.http2 import WireH2Connection
from wirekey.core.wire.http2_goaway import WireHttp2Client
from wirekey.core.wire.layer import WireLayer
from wirekey.core.wire.override import Override
from wirekey.core.wire.speed import overrides as speed
from wirekey.core.wire.speed.direct_layer import DirectHttpLayer
from wirekey.core.wire.speed.handler import FastConnectionHandler

if TYPE_CHECKING:
    from mitmproxy.proxy.layer import CommandGenerator

    from wirekey.core.wire.delegate import WireDelegate

KNOWN_VERSIONS = ("12.2.",)
"""The versions of mitmproxy that the tests of the wire layer pass with, by their first numbers."""
PLAIN = "_WIREKEY_PLAIN_WIRE"
"""A variable for tests: if it is set, nothing is replaced that is only for speed."""
_mitmproxy_choice = NextLayer.next_layer


class CloseConnectionLayer(layer.Layer):
    """Closes the client connection. It is chosen for connections that are not allowed."""

    def _handle_event(self, event: object) -> CommandGenerator[None]:
        yield commands.CloseConnection(self.context.client)


_tls_connection_lost = sslproto.SSLProtocol.connection_lost


def tls_connection_lost(protocol: sslproto.SSLProtocol, exc: BaseException | None) -> None:
    """End a TLS connection. After a reset, first read what was received before it. Replaces a method of asyncio's."""
    if isinstance(exc, OSError):
        feed_tls_after_reset(protocol)
    _tls_connection_lost(protocol, exc)


def choose_nothing(*_: object) -> None:
    """Replace the choice of mitmproxy's own addon, which `choose_as_mitmproxy` calls."""


def malformed_request_response(status_code: int, message: str = "") -> bytes:
    """Return the bytes of the response to what is not an HTTP request. Replaces mitmproxy's HTML page.

    mitmproxy's message quotes the request line. Tokens in it are removed.
    """
    return bare_error_response(status_code, text_without_tokens(message))


OVERRIDES = (
    Override(mode_servers, "ProxyConnectionHandler", WireConnectionHandler),
    Override(NextLayer, "next_layer", choose_nothing),
    Override(http_layers, "Http1Client", BoundedHttp1Client),
    Override(http_layers, "Http2Client", WireHttp2Client),
    Override(_http1, "ChunkedReader", TrailerDroppingReader),
    Override(_http1, "make_error_response", malformed_request_response),
    Override(_http2, "BufferedH2Connection", WireH2Connection),
    Override(sslproto.SSLProtocol, "connection_lost", tls_connection_lost),
)
"""The wire layer needs these to be right. docs/architecture.md has a table of them."""


def install() -> None:
    """Replace mitmproxy's classes, for the whole process. Raises RuntimeError if its version is unknown."""
    if not version.VERSION.startswith(KNOWN_VERSIONS):
        raise RuntimeError(
            f"This Wirekey does not support mitmproxy {version.VERSION}, only {', '.join(KNOWN_VERSIONS)}x. "
            "Install the version in requirements.lock. The wire layer replaces internals of mitmproxy. A new version "
            "is added to KNOWN_VERSIONS in core/wire/install.py when tests/wire passes with it "
            "(tests/wire/newest_mitmproxy.py)."
        )
    for override in OVERRIDES if os.environ.get(PLAIN) else (*OVERRIDES, *speed.OVERRIDES):
        override.apply()


def choose_as_mitmproxy(choice: layer.NextLayer) -> None:
    """Have mitmproxy's own addon choose the next layer of a connection.

    By itself the addon chooses nothing any more: where an addon of Wirekey waits for more bytes, it would not. It would
    serve the connection with layers that check nothing.
    """
    _mitmproxy_choice(ctx.master.addons.get("nextlayer"), choice)


def replace_http_layers(next_layer: layer.NextLayer, delegate: WireDelegate) -> None:
    """Turn each of mitmproxy's HTTP layers of a connection into a WireLayer."""
    handler = connection_handlers.get(next_layer.context.client.id)
    kind = DirectHttpLayer if isinstance(handler, FastConnectionHandler) else WireLayer
    for existing in next_layer.context.layers:
        if type(existing) is HttpLayer:
            kind.adopt(existing, delegate)
