"""The certificate that the gateway shows: the operator's, read anew when its files change, or one of our own CA."""

from __future__ import annotations

import logging
import ssl
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL

from wirekey.ca.certificates import LOCALHOST, issue_for_gateway
from wirekey.config.sources import stamp
from wirekey.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.ca.authority import Authority
    from wirekey.config.models import GatewayTLS

logger = logging.getLogger(__name__)

LOOKS_EVERY = 1.0
"""Seconds between two looks at the files."""
MADE_ANEW = 24 * 3600.0
"""Seconds after which another certificate of our own is shown, long before the former ends."""


class CertificateError(UserError):
    """The certificate cannot be used: names the setting, the files and the fix."""


class Certificate:
    """Raises CertificateError where it cannot be used at the start; later the former one stays in use."""

    def __init__(self, files: GatewayTLS) -> None:
        self._files = files
        self._stamps = self._look()
        self._looked = time.monotonic()
        self._context = server_context(files)

    def context(self, called: str | None = None, *, here: bool = True) -> SSL.Context | None:
        """Give what to show to a client, whatever it called the gateway."""
        now = time.monotonic()
        if now - self._looked >= LOOKS_EVERY:
            self._looked = now
            self._follow()
        return self._context

    def _look(self) -> tuple[str, str]:
        return stamp(self._files.certificate), stamp(self._files.key)

    def _follow(self) -> None:
        stamps = self._look()
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            self._context = server_context(self._files)
        except CertificateError as error:
            logger.error("%s The former certificate stays in use.", error)  # noqa: TRY400  # a sentence says it all
        else:
            logger.info("the changed certificate of listen.gateway_tls is in use")


class IssuedCertificate:
    """One of our CA, for programs of this machine. For CAs that may not speak for the gateway: none, said once."""

    def __init__(self, authority: Authority, clock: Callable[[], float] = time.time) -> None:
        # Kept: after `wirekey ca renew` the file holds another CA than the one in use.
        self._pem = authority.key_file.read_bytes() if authority.covers_gateway else None
        self._clock = clock
        self._made = float("-inf")
        self._context: SSL.Context | None = None
        self._told: set[str] = set()

    def context(self, called: str | None = None, *, here: bool = True) -> SSL.Context | None:
        """Give what to show to a client that calls the gateway by this server name (None: it says none).

        `here`: it came to an address of the loopback. None where nothing of ours would be trusted.
        """
        if self._pem is None:
            self._tell(
                "a client opened TLS at the gateway, and the CA does not cover localhost, so it is not trusted there: "
                "run `wirekey ca renew`, let the clients trust the new root, and start Wirekey anew"
            )
            return None
        if called not in (None, LOCALHOST) or not here:
            self._tell(
                "a client opened TLS at the gateway by another name or address than localhost, 127.0.0.1 and ::1, for "
                "which our CA is not good: set listen.gateway_tls to a certificate of that name"
            )
        now = self._clock()
        if self._context is None or not 0 <= now - self._made < MADE_ANEW:
            self._context, self._made = own_context(issue_for_gateway(self._pem, datetime.fromtimestamp(now, UTC))), now
        return self._context

    def _tell(self, sentence: str) -> None:
        if sentence not in self._told:
            self._told.add(sentence)
            logger.warning("%s", sentence)


def own_context(pem: bytes) -> SSL.Context:
    """Give what shows this key and chain."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    leaf, *chain = x509.load_pem_x509_certificates(pem)
    context.use_certificate(leaf)
    for each in chain:
        context.add_extra_chain_cert(each)
    context.use_privatekey(serialization.load_pem_private_key(pem, None))  # type: ignore[arg-type]  # one of our making
    return hardened(context)


def server_context(files: GatewayTLS) -> SSL.Context:
    """Raise CertificateError."""
    for file in (files.certificate, files.key):
        try:
            file.open("rb").close()
        except OSError as error:
            message = f"listen.gateway_tls: {file} cannot be read: {error.strerror}. Name files that Wirekey may read."
            raise CertificateError(message) from error
    try:
        # Without a password of ours, OpenSSL would ask the terminal for that of an encrypted key, and wait.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.certificate, files.key, password=lambda: "")
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate_chain_file(str(files.certificate))
        context.use_privatekey_file(str(files.key))
    except (ssl.SSLError, SSL.Error, ValueError, OSError) as error:
        raise CertificateError(
            f"listen.gateway_tls: {files.certificate} and {files.key} are no certificate and its key. The first is a "
            "PEM file with the certificate, then its intermediates; the second its private key, without a password."
        ) from error
    return hardened(context)


def hardened(context: SSL.Context) -> SSL.Context:
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_alpn_select_callback(select_protocol)
    return context


def select_protocol(_: SSL.Connection, offered: list[bytes]) -> bytes:
    return next((name for name in (b"h2", b"http/1.1") if name in offered), b"http/1.1")
