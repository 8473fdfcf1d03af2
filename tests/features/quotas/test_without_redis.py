"""Quotas apply if the feature that shares them between machines is missing."""

from __future__ import annotations

import ssl

import httpx

from tests.features.test_removal import LISTEN, REQUEST, copy_without
from tests.support.running import PATIENCE, Wirekey

QUOTAS = [{"name": "few", "per": "all", "requests_per_minute": 1, "usd_per_day": 5}]


def test_quotas_apply_without_redis(tmp_path):
    packages, settings = copy_without(tmp_path, "redis"), {"listen": LISTEN, "quotas": QUOTAS}
    wirekey = Wirekey(tmp_path / "wirekey", settings, "--simulator", environ={"PYTHONPATH": str(packages)})
    try:
        headers = {"authorization": f"Bearer {wirekey.add_agent()}"}
        trusted = ssl.create_default_context(cafile=wirekey.certs / "bundle.pem")
        url = f"https://{wirekey.running.gateway}/v1/chat/completions"
        with httpx.Client(verify=trusted, trust_env=False, timeout=PATIENCE) as client:
            responses = [client.post(url, json=REQUEST, headers=headers) for _ in range(2)]
        assert [response.status_code for response in responses] == [200, 429]
        assert "few" in responses[1].json()["error"]["message"]
    finally:
        status = wirekey.stop()
    assert status == 0
    assert "Traceback" not in wirekey.output.read_text()
