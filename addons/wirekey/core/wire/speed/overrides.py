"""The parts of mitmproxy and asyncio that are replaced only for speed, or to use less memory."""

from __future__ import annotations

from asyncio import sslproto
from typing import Any

from mitmproxy import http
from mitmproxy.net import tls
from mitmproxy.net.http.http1 import read
from mitmproxy.proxy import mode_servers
from mitmproxy.proxy.layers import http as http_layers
from OpenSSL import SSL

from wirekey.core.wire.override import Override
from wirekey.core.wire.speed.handler import FastConnectionHandler
from wirekey.core.wire.speed.headers import read_fields
from wirekey.core.wire.speed.http1 import FastHttp1Client

TLS_READ_BYTES = 32 * 1024
"""The read buffer of each TLS connection, until it is open. asyncio's default is 256 KiB; a TLS record has up to 16."""

_create_tls_context = tls._create_ssl_context  # noqa: SLF001  # mitmproxy has no hook for it


def create_tls_context(**settings: Any) -> SSL.Context:
    """Return a TLS context whose idle connections keep no buffers: 34 KiB each. Python's own contexts do the same."""
    context = _create_tls_context(**settings)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    return context


def check_nothing(_: http.MessageData) -> None:
    """Replace the check of the types in each new message. mitmproxy has it for its developers."""


OVERRIDES = (
    Override(mode_servers, "ProxyConnectionHandler", FastConnectionHandler),
    Override(http_layers, "Http1Client", FastHttp1Client),
    Override(read, "Headers", read_fields),
    Override(http.MessageData, "__post_init__", check_nothing),
    Override(sslproto.SSLProtocol, "max_size", TLS_READ_BYTES),
    Override(tls, "_create_ssl_context", create_tls_context),
)
