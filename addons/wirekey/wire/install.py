"""Replacing parts of mitmproxy with the classes of the wire layer.

These parts are internals of mitmproxy. `install` therefore checks its version first, and refuses an unknown one before
it replaces anything.
"""

from __future__ import annotations

from asyncio import sslproto
from typing import TYPE_CHECKING, Any

from mitmproxy import ctx, http, version
from mitmproxy.addons.next_layer import NextLayer
from mitmproxy.net import tls as net_tls
from mitmproxy.proxy import commands, layer, mode_servers
from mitmproxy.proxy.layers import http as http_layers
from mitmproxy.proxy.layers.http import HttpLayer, _http1, _http2
from OpenSSL import SSL

from wirekey.credentials.agent_tokens import text_without_tokens
from wirekey.wire.connecting import feed_tls_after_reset
from wirekey.wire.connection_handler import WireConnectionHandler
from wirekey.wire.http1 import BoundedHttp1Client, TrailerDroppingReader, bare_error_response
from wirekey.wire.http2 import WireH2Connection
from wirekey.wire.http2_goaway import WireHttp2Client
from wirekey.wire.layer import WireLayer

if TYPE_CHECKING:
    from mitmproxy.proxy.layer import CommandGenerator

    from wirekey.wire.delegate import WireDelegate

KNOWN_VERSIONS = ("12.2.",)
_mitmproxy_choice = NextLayer.next_layer
TLS_READ_BYTES = 32 * 1024
"""The read buffer of each TLS connection, until it is open. asyncio's default is 256 KiB; a TLS record has up to 16."""


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


_create_tls_context = net_tls._create_ssl_context  # noqa: SLF001  # mitmproxy has no hook for it


def create_tls_context(**settings: Any) -> SSL.Context:
    """Return a TLS context whose idle connections keep no buffers: 34 KiB each. Python's own contexts do the same."""
    context = _create_tls_context(**settings)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    return context


def malformed_request_response(status_code: int, message: str = "") -> bytes:
    """Return the bytes of the response to what is not an HTTP request. Replaces mitmproxy's HTML page.

    mitmproxy's message quotes the request line. Tokens in it are removed.
    """
    return bare_error_response(status_code, text_without_tokens(message))


def install() -> None:
    """Replace mitmproxy's classes, for the whole process. Raises RuntimeError if its version is unknown."""
    if not version.VERSION.startswith(KNOWN_VERSIONS):
        raise RuntimeError(
            f"This Wirekey does not support mitmproxy {version.VERSION}, only {', '.join(KNOWN_VERSIONS)}x. "
            "Install the version in requirements.lock."
        )
    mode_servers.ProxyConnectionHandler = WireConnectionHandler  # type: ignore[misc]
    NextLayer.next_layer = lambda *_: None  # type: ignore[method-assign]  # `choose_as_mitmproxy` calls it
    http_layers.Http1Client = BoundedHttp1Client  # type: ignore[misc]
    http_layers.Http2Client = WireHttp2Client  # type: ignore[misc]
    _http1.ChunkedReader = TrailerDroppingReader  # type: ignore[misc]
    _http1.make_error_response = malformed_request_response
    _http2.BufferedH2Connection = WireH2Connection  # type: ignore[misc]
    sslproto.SSLProtocol.max_size = TLS_READ_BYTES
    if sslproto.SSLProtocol.connection_lost is not tls_connection_lost:
        sslproto.SSLProtocol.connection_lost = tls_connection_lost  # type: ignore[assignment, method-assign]
    net_tls._create_ssl_context = create_tls_context  # noqa: SLF001
    # mitmproxy checks the types in each new message, for its developers. The check takes a tenth of the time.
    http.MessageData.__post_init__ = lambda _: None  # type: ignore[method-assign]


def choose_as_mitmproxy(choice: layer.NextLayer) -> None:
    """Have mitmproxy's own addon choose the next layer of a connection.

    By itself the addon chooses nothing any more: where an addon of Wirekey waits for more bytes, it would not. It would
    serve the connection with layers that check nothing.
    """
    _mitmproxy_choice(ctx.master.addons.get("nextlayer"), choice)


def replace_http_layers(next_layer: layer.NextLayer, delegate: WireDelegate) -> None:
    """Turn each of mitmproxy's HTTP layers of a connection into a WireLayer."""
    for existing in next_layer.context.layers:
        if type(existing) is HttpLayer:
            WireLayer.adopt(existing, delegate)
