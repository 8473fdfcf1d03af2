"""A syslog server as a sink: over UDP, or over a connection with or without TLS.

Syslog has no acknowledgement. On a connection, a delivery is done when the receiver's machine has acknowledged all
bytes and the connection is still open.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import ssl
import sys
import termios
import time
from typing import TYPE_CHECKING

from wirekey.core.egress.http_client import reason_of
from wirekey.features.audit_sinks.formats import form_of, json_line
from wirekey.features.audit_sinks.sink import TIMEOUT, RejectedEventsError, SinkError, addresses_of, trusted
from wirekey.features.audit_sinks.syslog_message import frame, message

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from wirekey.core.audit.event import AuditEvent
    from wirekey.features.audit_sinks.config import AuditSinkConfig, SyslogAddress

LOOK = 0.01
"""Seconds between two looks whether the receiver has acknowledged all bytes."""

MOST_READ = 16
"""Parts of what a receiver has sent that are read, and ignored, at once."""


class SyslogSink:
    """A syslog server. `settings`: of type syslog. Raises OSError if its `ca_file` cannot be read."""

    most = 200
    linger = 0.0

    def __init__(self, settings: AuditSinkConfig) -> None:
        assert settings.address
        self._address: SyslogAddress = settings.address
        self._facility, self._form = settings.facility, form_of(settings.format)
        self._context = trusted(settings.ca_file) if self._address.transport == "tls" else None
        self._host, self._process = socket.gethostname(), os.getpid()
        self._connection: socket.socket | None = None
        self.place = str(self._address)
        self.confirms = settings.confirms

    def send(self, events: Sequence[AuditEvent]) -> None:
        """Deliver events. Raises SinkError, RejectedEventsError."""
        messages = [
            message(event, json_line(self._form(event)), self._facility, self._host, self._process) for event in events
        ]
        with self._failing():
            connection = self._connected()
            if self._address.transport == "udp":
                send_datagrams(connection, messages)
                return
            connection.settimeout(TIMEOUT)
            connection.sendall(b"".join(map(frame, messages)))
            self._wait_until_received(connection)

    def check(self) -> None:
        """Connect, unless there is a connection. Raises SinkError."""
        with self._failing():
            self._connected()

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection:
            with contextlib.suppress(OSError):
                connection.close()

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """Close the connection after a failure, and turn it into a SinkError."""
        try:
            yield
        except OSError as error:
            self.close()
            raise SinkError(reason_of(error)) from None
        except SinkError:
            self.close()
            raise

    def _connected(self) -> socket.socket:
        if self._connection and not has_ended(self._connection):
            return self._connection
        self.close()
        failure: OSError = OSError("no address")
        for address in addresses_of(self._address.host, self._address.port):
            try:
                self._connection = self._connect(address)
            except OSError as error:
                failure = error
            else:
                return self._connection
        raise failure

    def _connect(self, address: str) -> socket.socket:
        place = (address, self._address.port)
        if self._address.transport == "udp":
            datagrams = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
            datagrams.connect(place)
            return datagrams
        connection = socket.create_connection(place, timeout=TIMEOUT)
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self._context:
                connection = self._context.wrap_socket(connection, server_hostname=self._address.host)
        except BaseException:
            connection.close()
            raise
        return connection

    def _wait_until_received(self, connection: socket.socket) -> None:
        """Wait until the receiver's machine has acknowledged what was sent. Raises SinkError, OSError."""
        deadline = time.monotonic() + TIMEOUT
        while unacknowledged(connection):
            if has_ended(connection):
                break
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(LOOK)
        if has_ended(connection):
            raise SinkError("it closes the connection")


def send_datagrams(connection: socket.socket, messages: Iterable[bytes]) -> None:
    """Send each message, except those that are too long for a datagram. Raises OSError, RejectedEventsError."""
    too_long = 0
    for each in messages:
        try:
            connection.send(each)
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            too_long += 1
    if too_long:
        raise RejectedEventsError(too_long)


def unacknowledged(connection: socket.socket) -> int:
    """Return the number of bytes that the other machine has not acknowledged."""
    return int.from_bytes(fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def has_ended(connection: socket.socket) -> bool:
    """Return whether the receiver has closed the connection, or it has failed. Bytes of the receiver are ignored."""
    if connection.type == socket.SOCK_DGRAM:
        return False
    connection.settimeout(0)
    try:
        for _ in range(MOST_READ):
            if not connection.recv(4096):
                return True
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(TIMEOUT)
    return False
