"""Putting our layer and connection handler in place of mitmproxy's.

The parts replaced are internals of mitmproxy, so its version is checked: an unknown one is refused with a
sentence, never half-patched.
"""

from __future__ import annotations

from asyncio import sslproto
from typing import TYPE_CHECKING

from mitmproxy import http, version
from mitmproxy.proxy import commands, layer, mode_servers
from mitmproxy.proxy.layers import http as http_layers
from mitmproxy.proxy.layers.http import HttpLayer, _http1, _http2

from wirekey.credentials.agent_tokens import text_without_tokens
from wirekey.wire import header_lookup
from wirekey.wire.connecting import feed_tls_after_reset
from wirekey.wire.connection_handler import WireConnectionHandler
from wirekey.wire.http1 import BoundedHttp1Client, TrailerDroppingReader, bare_error_response
from wirekey.wire.http2 import WireH2Connection
from wirekey.wire.http2_goaway import WireHttp2Client
from wirekey.wire.layer import WireLayer

if TYPE_CHECKING:
    from mitmproxy.proxy.layer import CommandGenerator, NextLayer

    from wirekey.wire.delegate import WireDelegate

KNOWN_VERSIONS = ("12.2.",)
TLS_READ_BYTES = 32 * 1024
"""Room that asyncio keeps for each TLS connection, idle ones too, of 256 KiB by itself; a record has at most 16."""


class CloseConnectionLayer(layer.Layer):
    """Closes the client connection: what a connection gets that may not go on."""

    def _handle_event(self, event: object) -> CommandGenerator[None]:
        yield commands.CloseConnection(self.context.client)


_tls_connection_lost = sslproto.SSLProtocol.connection_lost


def tls_connection_lost(secured: sslproto.SSLProtocol, exc: BaseException | None) -> None:
    """End a TLS connection; after a reset, first read what came before it."""
    if isinstance(exc, OSError):
        feed_tls_after_reset(secured)
    _tls_connection_lost(secured, exc)


def malformed_request_response(status_code: int, message: str = "") -> bytes:
    """Phrase what no provider's SDK sends: a request that is not HTTP. Replaces mitmproxy's HTML page.

    mitmproxy's message quotes the request line, which may hold a token.
    """
    return bare_error_response(status_code, text_without_tokens(message))


def install() -> None:
    """Replace the connection handler, once per process. Raises RuntimeError on an unknown mitmproxy."""
    if not version.VERSION.startswith(KNOWN_VERSIONS):
        raise RuntimeError(
            f"mitmproxy {version.VERSION} is not a version this Wirekey knows ({', '.join(KNOWN_VERSIONS)}x); "
            "install the one that requirements.lock names"
        )
    mode_servers.ProxyConnectionHandler = WireConnectionHandler  # type: ignore[misc]
    http_layers.Http1Client = BoundedHttp1Client  # type: ignore[misc]
    http_layers.Http2Client = WireHttp2Client  # type: ignore[misc]
    _http1.ChunkedReader = TrailerDroppingReader  # type: ignore[misc]
    _http1.make_error_response = malformed_request_response
    _http2.BufferedH2Connection = WireH2Connection  # type: ignore[misc]
    sslproto.SSLProtocol.max_size = TLS_READ_BYTES
    if sslproto.SSLProtocol.connection_lost is not tls_connection_lost:
        sslproto.SSLProtocol.connection_lost = tls_connection_lost  # type: ignore[assignment, method-assign]
    # A check of each new message's types, for mitmproxy's developers: a tenth of its time, and off under python -O.
    http.MessageData.__post_init__ = lambda _: None  # type: ignore[method-assign]
    http.Headers.get_all = header_lookup.get_all  # type: ignore[method-assign]
    http.Headers.__contains__ = header_lookup.contains  # type: ignore[assignment, method-assign]


def replace_http_layers(next_layer: NextLayer, delegate: WireDelegate) -> None:
    """Turn each stock HTTP layer of a connection into ours."""
    for existing in next_layer.context.layers:
        if type(existing) is HttpLayer:
            WireLayer.adopt(existing, delegate)
