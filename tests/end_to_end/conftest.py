from __future__ import annotations

import ssl

import pytest

from tests.support.running import SimulatorThread, Wirekey, wirekey_behind


@pytest.fixture(scope="session")
def simulator(tmp_path_factory):
    running = SimulatorThread(tmp_path_factory.mktemp("simulator"))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def proxy(tmp_path_factory, simulator) -> Wirekey:
    with wirekey_behind(tmp_path_factory.mktemp("wirekey"), simulator) as running:
        running.token = running.add_agent("alice", role="engineer", type="interactive")
        yield running


@pytest.fixture(autouse=True)
def fresh(simulator, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    simulator.forget()


@pytest.fixture
def through(proxy, monkeypatch):
    """The environment of a program behind Wirekey."""
    monkeypatch.setenv("HTTPS_PROXY", proxy.proxy_url("alice", proxy.token))
    monkeypatch.setenv("SSL_CERT_FILE", str(proxy.certs / "bundle.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(proxy.certs / "bundle.pem"))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(proxy.certs / "bundle.pem"))
    return proxy


@pytest.fixture
def trusting(proxy) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=proxy.root)
