"""TLS with the client, once its handshake is complete, with the keys and the state of mitmproxy's TLS layer.

mitmproxy allocates 64 KiB for each read of OpenSSL's memory, and learns the end of the data by an exception. Here all
connections use one buffer, and OpenSSL's own results. The buffer never leaves this module: what is read is copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from OpenSSL import SSL

from wirekey.core.tracebacks import forget_frames

if TYPE_CHECKING:
    from mitmproxy.proxy.layers.tls import ClientTLSLayer

BUFFER_BYTES = 128 * 1024
RECORD_BYTES = 16 * 1024
"""Bytes that are encrypted at once: a whole TLS record."""

# pyOpenSSL has no public way to read without an allocation.
_lib, _ffi = SSL._lib, SSL._ffi  # type: ignore[attr-defined]  # noqa: SLF001
_buffer = _ffi.new("char[]", BUFFER_BYTES)


class ClientTls:
    """Encrypts and decrypts the bytes of one client connection."""

    def __init__(self, layer: ClientTLSLayer) -> None:
        self.layer = layer
        self.connection = layer.tls
        self.ssl = layer.tls._ssl  # noqa: SLF001
        self.to_ssl, self.from_ssl = layer.tls._into_ssl, layer.tls._from_ssl  # noqa: SLF001

    def decrypt(self, data: bytes) -> tuple[bytes, SSL.Error | None]:
        """Return what the client sent, and the error that ended reading: None if more may come.

        The error is a ZeroReturnError if the client has ended the connection.
        """
        if data:
            self.connection.bio_write(data)
        ssl, found = self.ssl, b""
        while (size := _lib.SSL_read(ssl, _buffer, BUFFER_BYTES)) > 0:
            piece = _ffi.buffer(_buffer, size)[:]
            found = found + piece if found else piece
        if _lib.SSL_get_error(ssl, size) == _lib.SSL_ERROR_WANT_READ:
            return found, None
        try:
            self.connection._raise_ssl_error(ssl, size)  # noqa: SLF001
        except SSL.WantReadError:
            return found, None
        except SSL.Error as error:
            forget_frames(error)  # they hold the connection, and the caller's frame holds the error
            return found, error
        return found, None

    def encrypt(self, data: bytes) -> bytes:
        """Return the bytes to send for `data`, and for what OpenSSL itself has to send. Raises SSL.Error."""
        if len(data) <= RECORD_BYTES:
            if data:
                self._write(data, len(data))
            return self.pending()
        sent = []
        at = filled = 0
        with _ffi.from_buffer(data) as start:
            while at < len(data):
                size = min(RECORD_BYTES, len(data) - at)
                self._write(start + at, size)
                at += size
                # Records are collected in the buffer, so that they are copied out of it together.
                filled += max(0, _lib.BIO_read(self.from_ssl, _buffer + filled, BUFFER_BYTES - filled))
                if filled > BUFFER_BYTES - 2 * RECORD_BYTES or at == len(data):
                    sent.append(_ffi.buffer(_buffer, filled)[:])
                    filled = 0
        if rest := self.pending():
            sent.append(rest)
        return sent[0] if len(sent) == 1 else b"".join(sent)

    def _write(self, data: bytes | Any, length: int) -> None:
        """Encrypt at most one record, which OpenSSL writes at once. `data`: bytes, or a pointer to them."""
        size = _lib.SSL_write(self.ssl, data, length)
        if size == length:
            return
        try:
            self.connection._raise_ssl_error(self.ssl, size)  # noqa: SLF001
        except (SSL.ZeroReturnError, SSL.SysCallError):
            return  # the client has ended the connection; mitmproxy drops the data, too
        raise SSL.Error([("wirekey", "encrypt", "a record was not written whole")])

    def pending(self) -> bytes:
        """Return what OpenSSL has to send."""
        size = _lib.BIO_read(self.from_ssl, _buffer, BUFFER_BYTES)
        if size <= 0:
            return b""
        found: bytes = _ffi.buffer(_buffer, size)[:]
        while size == BUFFER_BYTES and (size := _lib.BIO_read(self.from_ssl, _buffer, BUFFER_BYTES)) > 0:
            found += _ffi.buffer(_buffer, size)[:]
        return found
