"""Without the feature, there are no runs, and a token of one that is stored already is refused."""

from __future__ import annotations

import ssl
import subprocess
import sys

import httpx

from tests.features.quotas.runs.conftest import CHAT, LISTEN
from tests.features.test_removal import copy_without
from tests.support.running import PATIENCE, Wirekey, bare_environment
from wirekey.core.identity.stored_runs import NewRun, StoredRuns


def test_without_quotas_nothing_runs_with_limits_that_are_not_enforced(tmp_path):
    packages = copy_without(tmp_path, "quotas")
    command = [sys.executable, "-m", "wirekey", "exec", "--budget", "5", "true"]
    environment = bare_environment() | {"PYTHONPATH": str(packages)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "No such option" in done.stderr
    wirekey = Wirekey(tmp_path / "wirekey", {"listen": LISTEN}, "--simulator", environ={"PYTHONPATH": str(packages)})
    try:
        wirekey.add_agent()
        token = StoredRuns(wirekey.agents).start("alice", NewRun("nightly", budget=1), lifetime=60)
        trusted = ssl.create_default_context(cafile=wirekey.certs / "bundle.pem")
        with httpx.Client(verify=trusted, trust_env=False, timeout=PATIENCE) as client:
            url = f"https://{wirekey.running.gateway}/v1/chat/completions"
            response = client.post(url, json=CHAT, headers={"authorization": f"Bearer {token}"})
        assert (response.status_code, response.json()["error"]["code"]) == (503, "runs_not_enforced")
    finally:
        wirekey.stop()
