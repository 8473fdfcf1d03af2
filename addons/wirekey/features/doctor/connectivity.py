"""Tries ports, folders and upstreams. Functions named `…_trouble` return what is wrong, empty if nothing is."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PORT_SECONDS = 2.0


def listening_trouble(host: str, port: int) -> str:
    """Try to listen on an address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        return reason(error)
    return ""


def reaching_trouble(host: str, port: int) -> str:
    """Try to connect to an address."""
    try:
        socket.create_connection((host, port), timeout=PORT_SECONDS).close()
    except OSError as error:
        return reason(error)
    return ""


def health_trouble(host: str, port: int, context: ssl.SSLContext | None) -> str:
    """Request /health, over TLS if there is a `context`."""
    connection = (
        http.client.HTTPSConnection(host, port, timeout=PORT_SECONDS, context=context)
        if context
        else http.client.HTTPConnection(host, port, timeout=PORT_SECONDS)
    )
    try:
        connection.request("GET", "/health")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return reason(error)
    finally:
        connection.close()
    return "" if status == http.client.OK else f"/health returns {status}"


def writing_trouble(folder: Path) -> str:
    """Check whether a folder can be written or, if it does not exist yet, created."""
    nearest = next(each for each in (folder, *folder.parents) if each.exists())
    if not nearest.is_dir():
        return f"{nearest} is not a folder"
    return "" if os.access(nearest, os.W_OK | os.X_OK) else f"{nearest} cannot be written"


def ask_upstream(host: str, port: int, context: ssl.SSLContext, seconds: float) -> tuple[str, float | None]:
    """Send an upstream a HEAD request over verified TLS, without a key.

    Returns what is wrong, empty if nothing is, and by how many seconds our clock is ahead of its `Date` header, or None
    if it sent none.
    """
    connection = http.client.HTTPSConnection(host, port, timeout=seconds, context=context)
    try:
        before = time.time()
        connection.request("HEAD", "/", headers={"User-Agent": "wirekey-doctor"})
        response = connection.getresponse()
        local = (before + time.time()) / 2
        date = response.getheader("Date")
    except (OSError, http.client.HTTPException) as error:
        return reason(error), None
    finally:
        connection.close()
    try:
        # Date has whole seconds, rounded down: on average the time is half a second later.
        return "", local - parsedate_to_datetime(date).timestamp() - 0.5 if date else None
    except ValueError:
        return "", None


def reason(error: Exception) -> str:
    """Return why a connection failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "no response in time"
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved"
    return ((isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__).lower()
