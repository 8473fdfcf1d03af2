"""Machines share their state on a server if quotas are missing."""

from __future__ import annotations

import ssl

import httpx

from tests.features.test_removal import LISTEN, REQUEST, copy_without
from tests.support.running import PATIENCE, Wirekey


def test_the_server_is_used_without_quotas(redis_server, tmp_path):
    packages, settings = copy_without(tmp_path, "quotas"), {"listen": LISTEN, "shared_state": redis_server.url}
    wirekey = Wirekey(tmp_path / "wirekey", settings, "--simulator", environ={"PYTHONPATH": str(packages)})
    try:
        headers = {"authorization": f"Bearer {wirekey.add_agent()}"}
        trusted = ssl.create_default_context(cafile=wirekey.certs / "bundle.pem")
        with httpx.Client(verify=trusted, trust_env=False, timeout=PATIENCE) as client:
            url = f"https://{wirekey.running.gateway}/v1/chat/completions"
            assert client.post(url, json=REQUEST, headers=headers).status_code == 200
            health = client.get(f"http://{wirekey.running.console}/health").json()
        assert health["dependencies"] == {"shared_state": {"available": True}}
    finally:
        status = wirekey.stop()
    assert status == 0
    assert "Traceback" not in wirekey.output.read_text()
