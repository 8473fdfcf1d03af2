from __future__ import annotations

import pytest

from tests.mitmweb.web_api import WebApi
from tests.secrecy.conftest import ServeWeb, ServeWebKeeping
from tests.support.running import KEY_ENVIRONMENT, SimulatorThread, Wirekey, behind
from tests.support.stream_formats import RawWay

POLICY = """
package wirekey.authz

deny contains "no embeddings here" if input.operation == "embeddings"

model := "gpt-4o-mini" if input.model == "gpt-4o"
"""


@pytest.fixture(scope="package")
def simulator(tmp_path_factory):
    running = SimulatorThread(tmp_path_factory.mktemp("simulator"))
    yield running
    running.stop()


def serving(kind: type[Wirekey], folder, simulator):
    """A Wirekey with mitmweb's page; `api` is its page's, `way` calls through it as alice."""
    policies = folder / "policies"
    policies.mkdir()
    (policies / "policy.rego").write_text(POLICY)
    settings = behind(simulator, policy={"path": str(policies)})
    proxy = kind(folder / "served", settings, environ=KEY_ENVIRONMENT)
    proxy.token = proxy.add_agent("alice", role="engineer")
    proxy.api = WebApi(*proxy.web)
    proxy.way = RawWay(proxy.certs / "bundle.pem", proxy=proxy.proxy_url("alice", proxy.token))
    return proxy


@pytest.fixture(scope="package")
def web(tmp_path_factory, simulator):
    """`wirekey serve --web`."""
    proxy = serving(ServeWeb, tmp_path_factory.mktemp("web"), simulator)
    yield proxy
    proxy.stop()


@pytest.fixture(scope="package")
def keeping(tmp_path_factory, simulator):
    """`wirekey serve --web --keep-responses`."""
    proxy = serving(ServeWebKeeping, tmp_path_factory.mktemp("keeping"), simulator)
    yield proxy
    proxy.stop()
