"""Tries ports, folders and upstreams. Each function gives what is in the way in words, empty where nothing is."""

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
    """Try to listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        return reason(error)
    return ""


def reaching_trouble(host: str, port: int) -> str:
    """Try to connect."""
    try:
        socket.create_connection((host, port), timeout=PORT_SECONDS).close()
    except OSError as error:
        return reason(error)
    return ""


def health_trouble(host: str, port: int, context: ssl.SSLContext | None) -> str:
    """Ask for /health, over TLS where there is a `context`."""
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
    return "" if status == http.client.OK else f"/health is answered {status}"


def writing_trouble(folder: Path) -> str:
    """See whether a folder can be written or, where it is not there yet, be made."""
    nearest = next(each for each in (folder, *folder.parents) if each.exists())
    if not nearest.is_dir():
        return f"{nearest} is no folder"
    return "" if os.access(nearest, os.W_OK | os.X_OK) else f"{nearest} cannot be written"


def ask_upstream(host: str, port: int, context: ssl.SSLContext, seconds: float) -> tuple[str, float | None]:
    """Ask an upstream for nothing, over verified TLS, without a key.

    Gives what is in the way, and how many seconds our clock is ahead of its `Date`, None where it says none.
    """
    connection = http.client.HTTPSConnection(host, port, timeout=seconds, context=context)
    try:
        before = time.time()
        connection.request("HEAD", "/", headers={"User-Agent": "wirekey-doctor"})
        answer = connection.getresponse()
        local = (before + time.time()) / 2
        date = answer.getheader("Date")
    except (OSError, http.client.HTTPException) as error:
        return reason(error), None
    finally:
        connection.close()
    try:
        # Date tells whole seconds, cut off: its middle is half a second later.
        return "", local - parsedate_to_datetime(date).timestamp() - 0.5 if date else None
    except ValueError:
        return "", None


def reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return "its name cannot be looked up"
    return ((isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__).lower()
