"""THREATS 2.9, R11: wrong secrets from one address, and the program with the right one beside them."""

from __future__ import annotations

import httpx
import pytest

from tests.support.running import PATIENCE, wait_for, wirekey_behind

TOKEN = "/api/v1/auth/token"
WRONG = "wks_" + "x" * 43


@pytest.mark.parametrize("listener", ["console", "gateway"])
def test_R11_wrong_secrets_do_not_lock_out_the_client(tmp_path, stage, listener):
    listen = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": "127.0.0.1:0"}
    with wirekey_behind(tmp_path, stage.simulator, listen=listen) as proxy:
        office = proxy.agents.add_client("office")
        url = f"http://{getattr(proxy.running, listener)}"
        with httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False) as http:

            def ask(secret: str) -> httpx.Response:
                form = {"grant_type": "client_credentials", "client_id": office.client_id, "client_secret": secret}
                return http.post(TOKEN, data=form)

            right = office.client_secret.reveal()
            wait_for(lambda: ask(right).status_code == 200, "the client to be known")
            wait_for(lambda: ask(WRONG).status_code == 429, "wrong secrets to be slowed")
            granted = ask(right)
            assert granted.status_code == 200
            token = granted.json()["access_token"]
        headers = {"authorization": f"Bearer {token}"}
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
        gateway = f"http://{proxy.running.gateway}/v1/chat/completions"
        assert httpx.post(gateway, json=body, headers=headers, timeout=PATIENCE, trust_env=False).status_code == 200
        assert stage.arrived().status == 200
        assert proxy.finished_event()["agent_id"] == "office"
