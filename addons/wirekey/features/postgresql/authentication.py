"""Keeps a password from a PostgreSQL server that asks for it in clear text on a connection that may lack TLS.

A server, or someone who answers in its place, chooses the method of authentication. By default the client would send
the password itself. Nobody else can use the bytes that `scram-sha-256` sends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import conninfo, pq

if TYPE_CHECKING:
    from wirekey.core.secret import Secret

ALWAYS_TLS = frozenset({"require", "verify-ca", "verify-full"})
"""The values of `sslmode` with which nothing is sent without TLS. With all others, the server decides."""
KNOWS_METHODS = 160000
"""The first version of libpq that has `require_auth`."""
REFUSED = "authentication method requirement"
"""Words of libpq about a server that asks for another method."""


def safe_authentication(url: Secret) -> dict[str, Any]:
    """Return parameters for a connection with which its password is not sent in clear text. Raises psycopg.Error.

    A URL that sets `require_auth` decides for itself, and so does one of a Unix socket.
    """
    parts = conninfo.conninfo_to_dict(url.reveal())
    if parts.get("require_auth") or parts.get("sslmode") in ALWAYS_TLS or is_socket(str(parts.get("host") or "")):
        return {}
    if pq.version() < KNOWS_METHODS:
        return {"sslmode": "require"}
    return {"require_auth": "!password"}


def is_socket(hosts: str) -> bool:
    """Return whether all hosts of a URL are folders of Unix sockets."""
    return all(host.startswith("/") for host in hosts.split(","))
