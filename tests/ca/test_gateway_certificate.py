"""The certificate of the gateway: that of listen.gateway_tls, or one of Wirekey's CA."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL

from wirekey.config.listen import GatewayTLSConfig
from wirekey.core.ca.authority import ensure, renew
from wirekey.core.ca.gateway_certificate import (
    REISSUE_AFTER,
    CertificateError,
    ConfiguredCertificate,
    IssuedCertificate,
)
from wirekey_simulator.certificate import prepare_certificate

PATIENCE = 60


@pytest.mark.parametrize(
    ("certificate_text", "key_text", "says"),
    [
        (None, "x", "gateway.pem cannot be read: No such file or directory. Name files"),
        ("x", None, "gateway-key.pem cannot be read: No such file or directory. Name files"),
        ("", "", "are not a certificate and its key. The first must be a PEM file"),
        ("x", "y", "are not a certificate and its key"),
        ("good", "another", "are not a certificate and its key"),
    ],
)
def test_the_error_names_the_file_and_the_fix(tmp_path, certificate_text, key_text, says):
    made, _ = prepare_certificate(tmp_path / "made")
    another, _ = prepare_certificate(tmp_path / "another")
    known = {"good": made.read_text(), "another": another.read_text()}
    files = GatewayTLSConfig(certificate=tmp_path / "gateway.pem", key=tmp_path / "gateway-key.pem")
    for file, text in ((files.certificate, certificate_text), (files.key, key_text)):
        if text is not None:
            file.write_text(known.get(text, text))
    with pytest.raises(CertificateError) as raised:
        ConfiguredCertificate(files)
    assert str(raised.value).startswith("listen.gateway_tls: ")
    assert says in str(raised.value)


def test_a_key_with_a_password_is_refused_without_a_prompt_on_the_terminal(tmp_path):
    made, _ = prepare_certificate(tmp_path / "made")
    key = serialization.load_pem_private_key(made.read_bytes(), None)
    encryption = serialization.BestAvailableEncryption(b"its password")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    (tmp_path / "key.pem").write_bytes(pem)
    files = f"certificate={str(made)!r}, key={str(tmp_path / 'key.pem')!r}"
    code = (
        "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
        "from wirekey.config.listen import GatewayTLSConfig; "
        "from wirekey.core.ca.gateway_certificate import ConfiguredCertificate; "
        f"ConfiguredCertificate(GatewayTLSConfig({files}))"
    )
    outer, terminal = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        os.close(outer)
        os.close(terminal)
    assert b"CertificateError: listen.gateway_tls: " in output
    assert b"without a password" in output


HOSTS = ["api.openai.com"]


@pytest.fixture
def ca(tmp_path):
    return ensure(tmp_path / "certs", HOSTS, roots=[])


@pytest.mark.parametrize(
    ("called", "here", "told"),
    [
        (None, True, ""),
        ("localhost", True, ""),
        (None, False, "set listen.gateway_tls"),
        ("gateway.corp.example", True, "set listen.gateway_tls"),
    ],
)
def test_a_client_that_the_certificate_does_not_cover_is_logged_once(ca, called, here, told, caplog):
    own = IssuedCertificate(ca)
    with caplog.at_level(logging.WARNING):
        assert own.context(called, here=here) is own.context(called, here=here)
    assert [told in record.message for record in caplog.records] == [True] * bool(told)


def test_the_issued_certificate_is_reissued_each_day_even_after_the_ca_was_renewed(ca):
    now = 1_800_000_000.0
    own = IssuedCertificate(ca, lambda: now)
    first = own.context()
    now += REISSUE_AFTER - 1
    assert own.context() is first
    renew(ca.folder, HOSTS, roots=[])
    now += 2
    second = own.context()
    assert second is not first
    now -= REISSUE_AFTER
    assert own.context() is not second


def test_idle_connections_of_the_gateway_keep_no_buffers(ca):
    assert IssuedCertificate(ca).context().set_mode(0) & SSL.MODE_RELEASE_BUFFERS


def test_a_ca_that_does_not_cover_the_gateway_is_logged_once_and_only_if_a_client_uses_tls(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr("wirekey.core.ca.certificates.GATEWAY", [])
    previous = ensure(tmp_path / "former", HOSTS, roots=[])
    monkeypatch.undo()
    with caplog.at_level(logging.WARNING):
        own = IssuedCertificate(previous)
        assert caplog.records == []
        assert own.context() is own.context("localhost") is None
    (record,) = caplog.records
    assert "wirekey ca renew" in record.message
