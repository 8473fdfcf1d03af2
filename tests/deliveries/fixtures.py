"""Fixtures of tests over deliveries. tests/conftest.py has them for all packages, so that each process starts one set.

Modules that take long to import are imported when a test first needs them.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from wirekey.feature_registry import missing_feature_of

if TYPE_CHECKING:
    from tests.deliveries.paths import Deployment, ProtocolPath

ROUTES = [
    {"match": "two-keys-*", "provider": "openai", "keys": ["env:FIRST", "env:SECOND"]},
    {"match": "again-*", "fallback": ["gpt-4o-mini"]},
    {"match": "alone-*", "failover": {"max_attempts": 1}},
    {"match": "other-model", "model": "gpt-4.1"},
    {"match": "other-provider", "model": "gemini:gemini-2.5-flash"},
    {"match": "unreachable-*", "upstream_url": "https://127.0.0.1:9", "auth": "none", "fallback": ["gpt-4o-mini"]},
]


@pytest.fixture(scope="session")
def deployments(tmp_path_factory):
    """One deployment with a connection pool, where the provider also speaks HTTP/2, and one without, by `pooled`."""
    from tests.deliveries.paths import OTHER_HOSTS, Deployment
    from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, SimulatorThread, Wirekey, behind
    from wirekey_simulator.google_tokens import GoogleTokens
    from wirekey_simulator.plain_http import serving

    running = {}
    tokens = GoogleTokens()
    account = tmp_path_factory.mktemp("google") / "account.json"
    issuing = contextlib.ExitStack()
    tokens.url = f"{issuing.enter_context(serving(tokens))}/token"
    account.write_text(tokens.service_account())
    for pooled in (True, False):
        protocols = ("h2", "http/1.1") if pooled else ("http/1.1",)
        simulator = SimulatorThread(tmp_path_factory.mktemp("simulator"), protocols=protocols)
        settings = behind(simulator, routes=ROUTES, upstream_connections={"reuse": pooled})
        settings["listen"] = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0" if pooled else None, "console": None}
        vertex = {"locations": ["europe-west4"], "credentials": str(account), "upstream_url": simulator.url}
        azure = {"name": "azure", "hosts": [OTHER_HOSTS["azure"]], "path": "/openai", "deployments": True}
        azure |= {"auth": "api-key", "keys": ["env:FIRST"], "upstream_url": simulator.url}
        of_features = {"vertex": vertex, "custom": [azure]}
        settings["providers"] |= {
            name: each for name, each in of_features.items() if not missing_feature_of(f"providers.{name}")
        }
        settings["policy"]["timeout"] = 20  # many calls run in parallel, and policies are not tested here
        environ = KEY_ENVIRONMENT | dict.fromkeys(("FIRST", "SECOND"), PROVIDER_KEYS["openai"])
        running[pooled] = Deployment(simulator, Wirekey(tmp_path_factory.mktemp("wirekey"), settings, environ=environ))
    yield running
    for deployment in running.values():
        deployment.proxy.stop()
        deployment.simulator.stop()
    issuing.close()
    for deployment in running.values():
        output = deployment.proxy.output.read_text()
        for sign in ("Traceback", "crashed", "a layer failed"):
            assert sign not in output, output[-3000:]


@pytest.fixture
def path(request) -> ProtocolPath:
    """The path of a test, from `each_delivery`."""
    return request.param


@pytest.fixture
def deployment(path, deployments) -> Deployment:
    """The deployment for a path. Its simulator has forgotten the requests of other tests."""
    deployment = deployments[path.pooled]
    deployment.simulator.forget()
    deployment.simulator.simulator.script.clear()
    return deployment
