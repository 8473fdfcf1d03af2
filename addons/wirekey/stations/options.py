"""mitmproxy's options that the house stands on: set at start, and refused when something changes them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from mitmproxy import ctx, exceptions

if TYPE_CHECKING:
    from collections.abc import Collection

REQUIRED: dict[str, tuple[Any, str]] = {
    "connection_strategy": ("lazy", "nothing may be dialled before a call is decided"),
    "rawtcp": (False, "bytes that are not HTTP would pass unseen"),
    "upstream_cert": (False, "foreign names would get into our certificates"),
    "validate_inbound_headers": (True, "a request that can be read in two ways must be refused"),
    "ssl_insecure": (False, "a key is only sent over verified TLS"),
    "store_streamed_bodies": (False, "content must not be kept"),
    "proxy_debug": (False, "it shows the bytes on the wire, with the keys"),
    "add_upstream_certs_to_client_chain": (False, "only our own certificates are shown to clients"),
    "stream_large_bodies": (None, "bodies that are judged are read whole, others pass unread"),
    "body_size_limit": (None, "limits.body_bytes of wirekey.yaml is the limit"),
    "ignore_hosts": ([], "provider hosts must not be passed through undecided"),
    "allow_hosts": ([], "provider hosts must not be passed through undecided"),
    "tcp_hosts": ([], "provider hosts must not be passed through undecided"),
    "certs": ([], "only our own CA makes certificates"),
    "client_certs": (None, "credentials are put on in one place only"),
    "proxyauth": (None, "it keeps credentials where other addons see them"),
    "upstream_auth": (None, "credentials are put on in one place only"),
    "stickyauth": (None, "it copies credentials between calls"),
    "emudhra": (False, "it signs with a CA whose key is public"),
    "emudhra_old": (False, "it signs with a CA whose key is public"),
}
FORBIDDEN_ENVIRONMENT = ("SSLKEYLOGFILE", "MITMPROXY_SSLKEYLOGFILE")


def enforce() -> None:
    """Set what is required. Raises OptionsError where the environment undoes it."""
    for name in FORBIDDEN_ENVIRONMENT:
        if os.environ.get(name):
            raise exceptions.OptionsError(
                f"{name} is set: it would write down the keys of the TLS sessions, and with them the provider keys. "
                f"Unset {name}."
            )
    wanted = {name: value for name, (value, _) in REQUIRED.items() if name in ctx.options}
    ctx.options.update(**wanted)


def check(updated: Collection[str]) -> None:
    """Raise OptionsError, which makes mitmproxy take the change back, where a change undoes what is required."""
    for name in updated:
        if name in REQUIRED:
            value, reason = REQUIRED[name]
            if getattr(ctx.options, name) != value:
                raise exceptions.OptionsError(f"Wirekey refuses {name}={getattr(ctx.options, name)!r}: {reason}.")
