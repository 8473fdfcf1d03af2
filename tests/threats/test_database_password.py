"""THREATS R53: a PostgreSQL server that asks for the password in clear text does not get it without TLS."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import struct
import threading

import psycopg
import pytest
from psycopg import pq

from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import UNPRIVILEGED
from tests.support.running import wait_for
from wirekey.core.secret import Secret
from wirekey.features.postgresql import authentication as postgres_authentication
from wirekey.features.postgresql.agents import AgentsDatabase, AgentsDatabaseError
from wirekey.features.postgresql.authentication import safe_authentication
from wirekey.features.postgresql.connection import may_pass, open_connection
from wirekey.features.postgresql.schema import AuditDatabaseError
from wirekey_simulator.certificate import prepare_certificate

PASSWORD = "hunter2-in-clear-text"
SSL_REQUEST, CLEARTEXT = 80877103, struct.pack("!cii", b"R", 8, 3)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server of TLS, where `clear` gives its password in clear text, and `hashed` by scram-sha-256."""
    postgres = PostgresServer()
    certificate, root = prepare_certificate(tmp_path_factory.mktemp("certificate"))
    own = postgres.data / "server.pem"
    shutil.copy(certificate, own)
    own.chmod(0o600)
    if not os.geteuid():
        os.chown(own, *pwd.getpwnam(UNPRIVILEGED)[2:4])
    rules = postgres.data / "pg_hba.conf"
    lines = [
        f"host all {name} 127.0.0.1/32 {way}" for name, way in (("clear", "password"), ("hashed", "scram-sha-256"))
    ]
    rules.write_text("\n".join([*lines, rules.read_text()]))
    with postgres.connect() as connection:
        for statement in (
            f"CREATE USER clear SUPERUSER PASSWORD '{PASSWORD}'",
            f"CREATE USER hashed SUPERUSER PASSWORD '{PASSWORD}'",
            f"ALTER SYSTEM SET ssl_cert_file = '{own}'",
            f"ALTER SYSTEM SET ssl_key_file = '{own}'",
            "ALTER SYSTEM SET ssl = on",
        ):
            connection.execute(statement)
    postgres.stop()
    postgres.start()
    postgres.root = root
    yield postgres
    postgres.remove()


def url_of(server, user, options=""):
    return Secret(f"postgresql://{user}:{PASSWORD}@127.0.0.1:{server.port}/postgres{options}")


@pytest.mark.parametrize("options", ["", "?sslmode=disable", "?sslmode=allow", "?sslmode=prefer"])
def test_R53_a_server_that_wants_the_password_in_clear_text_does_not_get_it(server, options):
    with pytest.raises(psycopg.OperationalError, match="cleartext password") as refused:
        open_connection(url_of(server, "clear", options))
    assert not may_pass(refused.value), "to wait does not help"
    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize("options", ["?sslmode=require", "?sslmode=verify-ca&sslrootcert=ROOT"])
def test_R53_a_server_gets_it_where_nothing_is_sent_without_tls(server, options):
    url = url_of(server, "clear", options.replace("ROOT", str(server.root)))
    with contextlib.closing(open_connection(url)) as connection:
        assert connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone() == (True,)


@pytest.mark.parametrize("options", ["", "?sslmode=disable"])
def test_R53_a_server_that_uses_scram_is_reached_as_before(server, options):
    with contextlib.closing(open_connection(url_of(server, "hashed", options))) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("hashed",)


def test_R53_an_operator_may_say_otherwise(server):
    with contextlib.closing(open_connection(url_of(server, "clear", "?require_auth=password"))) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("clear",)


def test_R53_the_agents_database_keeps_its_password_too(server):
    AgentsDatabase(url_of(server, "hashed")).read()
    with pytest.raises(AgentsDatabaseError, match=r"cleartext password.*sslmode=verify-full") as refused:
        AgentsDatabase(url_of(server, "clear")).read()
    assert PASSWORD not in str(refused.value)


def test_R53_the_audit_log_says_what_to_do(server):
    from wirekey.features.postgresql.reading import reading

    with pytest.raises(AuditDatabaseError, match=r"sslmode=verify-full") as refused, reading(url_of(server, "clear")):
        pass
    assert PASSWORD not in str(refused.value)


class Thief(threading.Thread):
    """It answers in place of a server: no TLS, and the password in clear text, please."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.received = b""
        self.asked = 0
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                connection.settimeout(10)
                with connection, contextlib.suppress(OSError):
                    self.serve(connection)

    def serve(self, connection: socket.socket) -> None:
        while data := connection.recv(65536):
            self.received += data
            if struct.unpack("!i", data[4:8])[0] == SSL_REQUEST:
                connection.sendall(b"N")
            else:
                self.asked += 1
                connection.sendall(CLEARTEXT)


@pytest.fixture
def thief():
    running = Thief()
    yield running
    running.listener.close()


@pytest.mark.parametrize("version", [pq.version(), 150000], ids=["now", "libpq without require_auth"])
def test_R53_who_answers_in_place_of_a_server_gets_no_password(thief, version, monkeypatch):
    monkeypatch.setattr(postgres_authentication.pq, "version", lambda: version)
    with pytest.raises(psycopg.OperationalError):
        open_connection(url_of(thief, "clear"))
    wait_for(lambda: thief.received, "the connection")
    assert PASSWORD.encode() not in thief.received
    if version >= postgres_authentication.KNOWS_METHODS:
        assert thief.asked, "it was asked for"


def test_R53_a_client_that_wirekey_does_not_limit_gives_it_away(thief):
    """The attack itself, so that the tests above cannot pass by accident."""
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url_of(thief, "clear").reveal(), connect_timeout=2)
    assert PASSWORD.encode() in thief.received


def test_R53_a_unix_socket_is_no_network():
    assert safe_authentication(Secret("postgresql://user:x@/audit?host=/run/postgresql")) == {}
    assert safe_authentication(Secret("postgresql://user:x@db/audit")) == {"require_auth": "!password"}
    assert safe_authentication(Secret("postgresql:///audit?host=/run/postgresql,db")) == {"require_auth": "!password"}
    assert safe_authentication(Secret("postgresql:///audit")) == {"require_auth": "!password"}
