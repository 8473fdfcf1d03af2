"""THREATS 2.9, R25: `console.sign_in: loopback` behind a reverse proxy on the same machine."""

from __future__ import annotations

import httpx
import pytest

from tests.support.running import PATIENCE, Wirekey

FORWARDING = {
    "X-Forwarded-Proto": "https",
    "x_forwarded_for": "192.0.2.7",
    "X-Forwarded": "for=192.0.2.7",
    "X-Forwarded-Port": "443",
    "CF-Connecting-IP": "192.0.2.7",
    "CF-Ray": "8a1b2c3d4e5f-FRA",
    "CDN-Loop": "cloudflare",
    "True-Client-IP": "192.0.2.7",
    "X-Client-IP": "192.0.2.7",
    "X-Cluster-Client-IP": "192.0.2.7",
    "X-Real-IP": "192.0.2.7",
    "Forwarded": "for=192.0.2.7",
    "Via": "1.1 proxy",
    "Fly-Client-IP": "192.0.2.7",
    "Fastly-Client-IP": "192.0.2.7",
    "X-Envoy-External-Address": "192.0.2.7",
    "X-Original-URL": "/console/state",
    "X-Azure-ClientIP": "192.0.2.7",
    "Tailscale-User-Login": "eve@example.com",
    "X-Forwarded-Empty": "",
}


@pytest.fixture(scope="module")
def console(tmp_path_factory):
    listen = {"forward": "127.0.0.1:0", "gateway": None, "console": "127.0.0.1:0"}
    folder = tmp_path_factory.mktemp("wirekey")
    proxy = Wirekey(folder, {"listen": listen, "console": {"sign_in": "loopback"}}, "--simulator")
    with httpx.Client(base_url=f"http://{proxy.running.console}", timeout=PATIENCE, trust_env=False) as client:
        yield client
    proxy.stop()


@pytest.mark.parametrize("name", FORWARDING)
def test_R25_a_forwarded_request_is_not_signed_in_by_its_loopback_address(console, name):
    assert console.get("/console/state").status_code == 200
    refused = console.get("/console/state", headers={name: FORWARDING[name]})
    assert refused.status_code == 401
    assert set(refused.json()) == {"error", "error_description"}
    assert console.get("/metrics", headers={name: FORWARDING[name]}).status_code == 403
