"""The certificate that the gateway shows: read from its files, and again when they change."""

from __future__ import annotations

import logging
import ssl
import time
from typing import TYPE_CHECKING

from OpenSSL import SSL

from wirekey.config.sources import stamp

if TYPE_CHECKING:
    from wirekey.config.models import GatewayTLS

logger = logging.getLogger(__name__)

LOOKS_EVERY = 1.0
"""Seconds between two looks at the files."""


class CertificateError(Exception):
    """The certificate cannot be used: names the setting, the files and the fix."""


class Certificate:
    """Raises CertificateError where it cannot be used at the start; later the former one stays in use."""

    def __init__(self, files: GatewayTLS) -> None:
        self._files = files
        self._stamps = self._look()
        self._looked = time.monotonic()
        self._context = server_context(files)

    def context(self) -> SSL.Context:
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
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_alpn_select_callback(select_protocol)
    return context


def select_protocol(_: SSL.Connection, offered: list[bytes]) -> bytes:
    return next((name for name in (b"h2", b"http/1.1") if name in offered), b"http/1.1")
