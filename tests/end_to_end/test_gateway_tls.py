"""https:// at the gateway without an operator's certificate, for local clients that trust Wirekey's root."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import httpx
import openai
import pytest

from tests.support.own_simulator import simulator
from tests.support.running import PATIENCE, wirekey_behind
from wirekey.core.ca import authority
from wirekey.providers.hosts import provider_hosts

__all__ = ["simulator"]

LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
NAMES = ("localhost", "127.0.0.1")


@pytest.fixture(scope="module")
def wirekey(tmp_path_factory, simulator):
    with wirekey_behind(tmp_path_factory.mktemp("wirekey"), simulator, listen=LISTEN) as proxy:
        proxy.token = proxy.add_agent("alice")
        yield proxy


def base(wirekey, name):
    return f"https://{name}:{wirekey.running.gateway.rpartition(':')[2]}"


@pytest.mark.parametrize("name", NAMES)
def test_python(wirekey, name):
    with (
        httpx.Client(verify=str(wirekey.root)) as http,
        openai.OpenAI(api_key=wirekey.token, base_url=base(wirekey, name) + "/v1", http_client=http) as client,
    ):
        messages = [{"role": "user", "content": "Say hello."}]
        assert client.chat.completions.create(model="gpt-4o-mini", messages=messages).choices[0].message.content


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("protocol", ["--http1.1", "--http2"])
def test_curl(wirekey, name, protocol):
    command = ["curl", "-sS", protocol, "--noproxy", "*", "--cacert", wirekey.root, f"{base(wirekey, name)}/health"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert json.loads(done.stdout) == {"status": "ok"}, done.stderr


NODE = """
require('node:https').get(process.argv[1] + '/health', (response) => response.pipe(process.stdout))
  .on('error', (error) => { console.error(error.message); process.exit(1); });
"""


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
@pytest.mark.parametrize("name", NAMES)
def test_node(wirekey, name):
    environment = {"PATH": os.environ["PATH"], "NODE_EXTRA_CA_CERTS": str(wirekey.root)}
    command = ["node", "-e", NODE, base(wirekey, name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment)
    assert json.loads(done.stdout) == {"status": "ok"}, done.stderr


def test_a_ca_of_an_older_version_still_works_and_only_users_of_tls_are_warned(tmp_path, simulator, monkeypatch):
    monkeypatch.setattr("wirekey.core.ca.certificates.GATEWAY", [])
    authority.ensure(tmp_path / "certs", list(provider_hosts()))
    monkeypatch.undo()
    with wirekey_behind(tmp_path, simulator, listen=LISTEN) as proxy:
        assert httpx.get(f"http://{proxy.running.gateway}/health").status_code == 200
        assert "ca renew" not in proxy.output.read_text()
        for _ in range(2):
            with pytest.raises(httpx.ConnectError, match=r"subtree|certificate"):
                httpx.get(base(proxy, "localhost") + "/health", verify=str(proxy.root))
        assert proxy.output.read_text().count("ca renew") == 1
