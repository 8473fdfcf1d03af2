from __future__ import annotations

import pytest

from tests.deliveries.paths import Deployment, ProtocolPath
from tests.running import KEY_ENVIRONMENT, PROVIDER_KEYS, SimulatorThread, Wirekey, behind

ROUTES = [
    {"match": "two-keys-*", "provider": "openai", "keys": ["env:FIRST", "env:SECOND"]},
    {"match": "again-*", "fallback": ["gpt-4o-mini"]},
    {"match": "alone-*", "failover": {"max_attempts": 1}},
    {"match": "other-model", "model": "gpt-4.1"},
]


@pytest.fixture(scope="package")
def deployments(tmp_path_factory):
    """One deployment with a connection pool, where the provider also speaks HTTP/2, and one without, by `pooled`."""
    running = {}
    for pooled in (True, False):
        protocols = ("h2", "http/1.1") if pooled else ("http/1.1",)
        simulator = SimulatorThread(tmp_path_factory.mktemp("simulator"), protocols=protocols)
        settings = behind(simulator, routes=ROUTES, upstream_connections={"reuse": pooled})
        settings["policy"]["timeout"] = 20  # many calls run in parallel, and policies are not tested here
        environ = KEY_ENVIRONMENT | dict.fromkeys(("FIRST", "SECOND"), PROVIDER_KEYS["openai"])
        running[pooled] = Deployment(simulator, Wirekey(tmp_path_factory.mktemp("wirekey"), settings, environ=environ))
    yield running
    for deployment in running.values():
        deployment.proxy.stop()
        deployment.simulator.stop()
        output = deployment.proxy.output.read_text()
        for sign in ("Traceback", "crashed", "a layer failed"):
            assert sign not in output, output[-3000:]


@pytest.fixture
def path(request) -> ProtocolPath:
    return request.param


@pytest.fixture
def deployment(path, deployments) -> Deployment:
    """The deployment for a path. Its simulator has forgotten the requests of other tests."""
    deployment = deployments[path.pooled]
    deployment.simulator.forget()
    deployment.simulator.simulator.script.clear()
    return deployment
