"""TLS 1.2 for the synchronous client of `websockets`, which the sync client of openai uses too.

It reads in a thread from the start, and writes its request in another one. OpenSSL does not allow both at once on one
connection. With TLS 1.3 the server's session tickets arrive at just that moment, and one request in about 400 is never
sent, also without Wirekey. With TLS 1.2 they are a part of the handshake.
"""

from __future__ import annotations

import ssl as tls
from typing import Any

from websockets.sync import client

connect_with_any_version = client.connect


def connect(uri: str, *, ssl: tls.SSLContext | None = None, **options: Any) -> client.ClientConnection:
    """Open a WebSocket, with TLS 1.2 for a wss address."""
    if uri.startswith("wss:"):
        ssl = ssl or tls.create_default_context()
        ssl.maximum_version = tls.TLSVersion.TLSv1_2
    return connect_with_any_version(uri, ssl=ssl, **options)


def install() -> None:
    """Use it wherever the client is imported later."""
    client.connect = connect
