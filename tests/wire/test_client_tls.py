"""TLS with the client: what one side encrypts, the other decrypts, in any size and any cut."""

from __future__ import annotations

import contextlib
import ssl
import subprocess
import sys
from types import SimpleNamespace

import pytest
from OpenSSL import SSL

from wirekey.core.wire.speed.client_tls import ClientTls
from wirekey_simulator.certificate import prepare_certificate


class Session:
    """A client with Python's TLS, and the same connection as the proxy has it, after the handshake."""

    def __init__(self, folder) -> None:
        file, root = prepare_certificate(folder)
        settings = SSL.Context(SSL.TLS_METHOD)
        settings.use_certificate_chain_file(str(file))
        settings.use_privatekey_file(str(file))
        self.connection = SSL.Connection(settings, None)
        self.connection.set_accept_state()
        self.to_client, self.from_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=root)
        context.check_hostname = False
        self.client = context.wrap_bio(self.to_client, self.from_client)
        for _ in range(4):
            self.step()
        self.proxy = ClientTls(SimpleNamespace(tls=self.connection))

    def step(self) -> None:
        with contextlib.suppress(ssl.SSLWantReadError):
            self.client.do_handshake()
        if self.from_client.pending:
            self.connection.bio_write(self.from_client.read())
        with contextlib.suppress(SSL.WantReadError):
            self.connection.do_handshake()
        with contextlib.suppress(SSL.WantReadError):
            self.to_client.write(self.connection.bio_read(65535))

    def received(self) -> bytes:
        found = b""
        while True:
            try:
                found += self.client.read(65536)
            except ssl.SSLWantReadError:
                return found


@pytest.fixture(scope="module")
def session(tmp_path_factory) -> Session:
    return Session(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("size", [1, 100, 16383, 16384, 16385, 65536, 65537, 140000, 300001])
def test_data_of_any_size_arrives_unchanged_in_both_directions(session, size):
    data = bytes(number % 251 for number in range(size))
    session.to_client.write(session.proxy.encrypt(data))
    assert session.received() == data
    session.client.write(data)
    assert session.proxy.decrypt(session.from_client.read()) == (data, None)


def test_a_record_that_arrives_in_parts_is_decrypted_when_it_is_whole(session):
    session.client.write(b"one record")
    sent = session.from_client.read()
    assert session.proxy.decrypt(sent[:7]) == (b"", None)
    assert session.proxy.decrypt(sent[7:-1]) == (b"", None)
    assert session.proxy.decrypt(sent[-1:]) == (b"one record", None)


def test_nothing_is_sent_when_there_is_nothing_to_send(session):
    assert session.proxy.encrypt(b"") == b""
    assert session.proxy.pending() == b""


def test_the_end_of_the_connection_and_what_is_no_tls_are_reported(tmp_path):
    ended = Session(tmp_path)
    ended.client.write(b"last")
    with pytest.raises(ssl.SSLWantReadError):
        ended.client.unwrap()
    data, error = ended.proxy.decrypt(ended.from_client.read())
    assert data == b"last"
    assert isinstance(error, SSL.ZeroReturnError)
    assert error.__traceback__ is None, "its frames would keep the connection in memory"
    other = Session(tmp_path)
    data, error = other.proxy.decrypt(b"\x17\x03\x03\x00\x20" + b"x" * 32)
    assert data == b""
    assert isinstance(error, SSL.Error)
    assert not isinstance(error, SSL.ZeroReturnError)


def test_idle_connections_keep_no_buffers():
    """In a process of its own, as the replacement is for all of mitmproxy's contexts."""
    code = (
        "from mitmproxy.net import tls; from OpenSSL import SSL; from wirekey.core.wire import install; "
        "install.install(); "
        "context = tls.create_client_proxy_context(method=tls.Method.TLS_SERVER_METHOD, cipher_list=None, "
        "min_version=tls.Version.TLS1_2, max_version=tls.Version.UNBOUNDED, ecdh_curve=None, chain_file=None, "
        "alpn_select_callback=None, request_client_cert=False, extra_chain_certs=(), dhparams=None); "
        "assert context.set_mode(0) & SSL.MODE_RELEASE_BUFFERS"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
