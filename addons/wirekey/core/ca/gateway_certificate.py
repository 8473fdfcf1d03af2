"""The certificate of the gateway: the configured one, which is reloaded when its files change, or one of our own CA."""

from __future__ import annotations

import logging
import ssl
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL

from wirekey.config.sources import file_version
from wirekey.core.ca.certificates import LOCALHOST, issue_for_gateway
from wirekey.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.config.listen import GatewayTLSConfig
    from wirekey.core.ca.authority import Authority

logger = logging.getLogger(__name__)

CHECK_INTERVAL = 1.0
"""Seconds between two checks of the files."""
REISSUE_AFTER = 24 * 3600.0
"""Seconds after which a new certificate of our own is issued, long before the previous one expires."""


class CertificateError(UserError):
    """The certificate cannot be used. The text names the setting, the files and the fix."""


class ConfiguredCertificate:
    """The certificate of `listen.gateway_tls`.

    Raises CertificateError if it cannot be used at the start. If it cannot be used after a change of its files, the
    previous one stays in use.
    """

    def __init__(self, files: GatewayTLSConfig) -> None:
        self._files = files
        self._stamps = self._read_stamps()
        self._checked = time.monotonic()
        self._context = configured_context(files)

    def context(self, called: str | None = None, *, here: bool = True) -> SSL.Context | None:
        """Return the TLS context for a client. The name and address that it used make no difference."""
        now = time.monotonic()
        if now - self._checked >= CHECK_INTERVAL:
            self._checked = now
            self._reload()
        return self._context

    def _read_stamps(self) -> tuple[str, str]:
        return file_version(self._files.certificate), file_version(self._files.key)

    def _reload(self) -> None:
        stamps = self._read_stamps()
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            self._context = configured_context(self._files)
        except CertificateError as error:
            logger.error("%s The previous certificate stays in use.", error)  # noqa: TRY400  # the message is enough
        else:
            logger.info("The changed certificate of listen.gateway_tls is in use")


class IssuedCertificate:
    """A certificate of our own CA, for programs on this machine. It is reissued every day.

    If the CA does not cover the gateway, there is no certificate. That is logged once.
    """

    def __init__(self, authority: Authority, clock: Callable[[], float] = time.time) -> None:
        # Kept, as after `wirekey ca renew` the file contains another CA than the one in use.
        self._pem = authority.key_file.read_bytes() if authority.covers_gateway else None
        self._clock = clock
        self._issued = float("-inf")
        self._context: SSL.Context | None = None
        self._warned: set[str] = set()

    def context(self, called: str | None = None, *, here: bool = True) -> SSL.Context | None:
        """Return the TLS context for a client, or None if the client would not trust our certificate.

        `called` is the server name that the client sent, or None. `here`: it connected to a loopback address.
        """
        if self._pem is None:
            self._warn_once(
                "A client opened a TLS connection to the gateway, but the CA does not cover localhost. Run `wirekey ca "
                "renew`, make the clients trust the new root, and restart Wirekey."
            )
            return None
        if called not in (None, LOCALHOST) or not here:
            self._warn_once(
                "A client opened a TLS connection to the gateway under a name or address other than localhost, "
                "127.0.0.1 and ::1, which our CA does not cover. To allow that, set listen.gateway_tls to a "
                "certificate for that name."
            )
        now = self._clock()
        if self._context is None or not 0 <= now - self._issued < REISSUE_AFTER:
            pem = issue_for_gateway(self._pem, datetime.fromtimestamp(now, UTC))
            self._context, self._issued = issued_context(pem), now
        return self._context

    def _warn_once(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            logger.warning("%s", message)


def issued_context(pem: bytes) -> SSL.Context:
    """Return the TLS context of a server with this key and certificate chain."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    leaf, *chain = x509.load_pem_x509_certificates(pem)
    context.use_certificate(leaf)
    for each in chain:
        context.add_extra_chain_cert(each)
    context.use_privatekey(serialization.load_pem_private_key(pem, None))  # type: ignore[arg-type]  # our own, of a supported kind
    return hardened(context)


def configured_context(files: GatewayTLSConfig) -> SSL.Context:
    """Return the TLS context of a server with the certificate and key of these files. Raises CertificateError."""
    for file in (files.certificate, files.key):
        try:
            file.open("rb").close()
        except OSError as error:
            message = f"listen.gateway_tls: {file} cannot be read: {error.strerror}. Name files that Wirekey may read."
            raise CertificateError(message) from error
    try:
        # Without this password, OpenSSL would ask for that of an encrypted key on the terminal, and wait.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.certificate, files.key, password=lambda: "")
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate_chain_file(str(files.certificate))
        context.use_privatekey_file(str(files.key))
    except (ssl.SSLError, SSL.Error, ValueError, OSError) as error:
        raise CertificateError(
            f"listen.gateway_tls: {files.certificate} and {files.key} are not a certificate and its key. The first "
            "must be a PEM file with the certificate, then its intermediates. The second must be its private key, "
            "without a password."
        ) from error
    return hardened(context)


def hardened(context: SSL.Context) -> SSL.Context:
    """Set the TLS versions, options and protocols of the gateway on a context, and return it."""
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_alpn_select_callback(select_protocol)
    return context


def select_protocol(_: SSL.Connection, offered: list[bytes]) -> bytes:
    """Return the HTTP version to use of those that a client offers."""
    return next((name for name in (b"h2", b"http/1.1") if name in offered), b"http/1.1")
