"""The certificate of listen.gateway_tls: what cannot be used is one sentence, at the start and later."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives import serialization

from wirekey.config.models import GatewayTLS
from wirekey.simulator.certificate import prepare_certificate
from wirekey.stations.gateway_certificate import Certificate, CertificateError

PATIENCE = 60


@pytest.mark.parametrize(
    ("certificate_text", "key_text", "says"),
    [
        (None, "x", "gateway.pem cannot be read: No such file or directory. Name files"),
        ("x", None, "gateway-key.pem cannot be read: No such file or directory. Name files"),
        ("", "", "are no certificate and its key. The first is a PEM file"),
        ("x", "y", "are no certificate and its key"),
        ("good", "another", "are no certificate and its key"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_one_sentence(tmp_path, certificate_text, key_text, says):
    made, _ = prepare_certificate(tmp_path / "made")
    another, _ = prepare_certificate(tmp_path / "another")
    known = {"good": made.read_text(), "another": another.read_text()}
    files = GatewayTLS(certificate=tmp_path / "gateway.pem", key=tmp_path / "gateway-key.pem")
    for file, text in ((files.certificate, certificate_text), (files.key, key_text)):
        if text is not None:
            file.write_text(known.get(text, text))
    with pytest.raises(CertificateError) as raised:
        Certificate(files)
    assert str(raised.value).startswith("listen.gateway_tls: ")
    assert says in str(raised.value)


def test_a_key_with_a_password_is_refused_and_the_terminal_is_not_asked_for_it(tmp_path):
    made, _ = prepare_certificate(tmp_path / "made")
    key = serialization.load_pem_private_key(made.read_bytes(), None)
    encryption = serialization.BestAvailableEncryption(b"its password")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    (tmp_path / "key.pem").write_bytes(pem)
    files = f"certificate={str(made)!r}, key={str(tmp_path / 'key.pem')!r}"
    code = (
        "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
        "from wirekey.config.models import GatewayTLS; from wirekey.stations.gateway_certificate import Certificate; "
        f"Certificate(GatewayTLS({files}))"
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
