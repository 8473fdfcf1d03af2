"""The health of Google accounts while Wirekey runs: in `accounts list`, on the console, in metrics and in /ready."""

from __future__ import annotations

import json
import time

import httpx
import pytest
from click.testing import CliRunner

from tests.support.google import stand_ins
from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, SimulatorThread, Wirekey, behind, wait_for
from wirekey.cli.main import group

NAME = "gemini-oauth-auto"
TOKENS = {"a": "ya29.sim-limited-a-canary-1a", "b": "ya29.sim-known-b-canary-1b"}
BODY = {"contents": [{"parts": [{"text": "Hi"}]}]}


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    keys = {name: [key] for name, key in PROVIDER_KEYS.items()} | {"code_assist": [*TOKENS.values()]}
    running = SimulatorThread(tmp_path_factory.mktemp("simulator"), keys=keys)
    yield running
    running.stop()


@pytest.fixture
def wirekey(tmp_path, simulator):
    """Three accounts: Google limits `a` for every model, `b` is good, and `c` needs a login."""
    storage, ends = tmp_path / "accounts", int((time.time() + 7200) * 1000)
    storage.mkdir(mode=0o700)
    for name in ("a", "b", "c"):
        login = {"access_token": TOKENS[name], "expiry_date": ends} if name in TOKENS else {"needs_login": True}
        content = {"account_id": name, "email": f"{name}@canary.example", "refresh_token": f"1//{name}", **login}
        (storage / f"{name}.json").write_text(json.dumps(content))
        (storage / f"{name}.json").chmod(0o600)
    backend = {"enabled": True, "storage": str(storage), "selection_strategy": "first-available", "fallback": None}
    settings = behind(
        simulator,
        listen={"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": "127.0.0.1:0"},
        console={"sign_in": "loopback"},
        backends={NAME: backend},
    )
    proxy = Wirekey(tmp_path / "wirekey", settings, environ=KEY_ENVIRONMENT | stand_ins(code_assist=simulator.url))
    proxy.token = proxy.add_agent("alice")
    yield proxy
    proxy.stop()


def generate(wirekey):
    url = f"http://{wirekey.running.gateway}/v1beta/models/{NAME}%3Agemini-2.5-pro:generateContent"
    return httpx.post(url, json=BODY, headers={"x-goog-api-key": wirekey.token}, timeout=60)


def read(wirekey, path):
    return httpx.get(f"http://{wirekey.running.console}{path}", timeout=60)


def counted(wirekey):
    """State → number of accounts, as Prometheus gets it."""
    lines = [
        line for line in read(wirekey, "/metrics").text.splitlines() if line.startswith("wirekey_google_accounts{")
    ]
    assert all(f'backend="{NAME}"' in line for line in lines)
    return {line.partition('state="')[2].partition('"')[0]: float(line.rpartition(" ")[2]) for line in lines}


def rows(wirekey):
    """The accounts on the live page."""
    (backend,) = [each for each in read(wirekey, "/console/state").json()["providers"] if each["name"] == NAME]
    return {key["label"].partition("/")[2]: key for key in backend["keys"]}


def command(wirekey, *words):
    done = CliRunner().invoke(group, ["accounts", *words, "--config", str(wirekey.folder / "wirekey.yaml")])
    return done.output


def test_health_is_shown_everywhere_and_without_an_email(wirekey, simulator):
    wait_for(lambda: counted(wirekey).get("usable") == 2, "the accounts to be read")
    assert counted(wirekey) == {"usable": 2, "limited": 0, "needs_login": 1, "invalid": 0}

    assert generate(wirekey).status_code == 200
    wait_for(lambda: counted(wirekey).get("limited") == 1, "the metrics to have the limit")
    assert counted(wirekey) == {"usable": 1, "limited": 1, "needs_login": 1, "invalid": 0}
    found = rows(wirekey)
    assert found["a"]["cooling_seconds"] > 0
    assert (found["b"]["cooling_seconds"], found["b"]["trouble"]) == (0, None)
    assert found["c"]["trouble"] == "needs a login"
    ready = read(wirekey, "/ready")
    assert (ready.status_code, ready.json()["parts"][NAME]) == (200, {"ready": True})
    wait_for(lambda: "resting until" in command(wirekey, "list"), "the limit to be in the account's file")
    (line,) = [line for line in command(wirekey, "list").splitlines() if line.startswith("a ")]
    assert "resting until 20" in line
    assert "RATE_LIMIT_EXCEEDED for gemini-2.5-pro" in command(wirekey, "show", "a")
    assert "RATE_LIMIT_EXCEEDED" not in command(wirekey, "show", "b")

    simulator.simulator.script.add("fail=429,retry-after=3000")
    assert generate(wirekey).status_code == 429
    ready = read(wirekey, "/ready")
    reason = "none of its accounts can be used: 2 are limited by Google, 1 needs a login"
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert ready.json()["parts"][NAME] == {"ready": False, "reason": reason}
    notes = {each["what"]: each["level"] for each in read(wirekey, "/console/state").json()["attention"]}
    assert notes[f"{NAME}: {reason}."] == "bad"
    for path in ("/metrics", "/ready", "/console/state"):
        assert "canary" not in read(wirekey, path).text
