"""`wirekey usage reconcile` with calls of the real SDKs and the simulator's own reports."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import ssl
import time

import anthropic
import httpx
import httpx2
import openai
import pytest

from tests.support.own_simulator import simulator
from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, behind
from tests.support.running import Wirekey as RunningWirekey
from tests.support.serving import wirekey
from wirekey_simulator.reports import key_id

__all__ = ["simulator"]

ADMIN = {"OPENAI_ADMIN_KEY": PROVIDER_KEYS["openai"], "ANTHROPIC_ADMIN_KEY": PROVIDER_KEYS["anthropic"]}
REFERENCES = {"openai": "env:OPENAI_ADMIN_KEY", "anthropic": "env:ANTHROPIC_ADMIN_KEY"}


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, simulator):
    folder = tmp_path_factory.mktemp("wirekey")
    running = RunningWirekey(folder, behind(simulator), environ=KEY_ENVIRONMENT)
    token = running.add_agent("alice")
    context = ssl.create_default_context(cafile=running.root)
    with httpx.Client(proxy=running.proxy_url("alice", token), verify=context, trust_env=False, timeout=60) as client:
        chat = openai.OpenAI(api_key="none", http_client=client, max_retries=0)
        said = [{"role": "user", "content": "Hello, how are you?"}]
        for model in ("gpt-4o-mini", "gpt-4o-mini", "gpt-4.1"):
            chat.chat.completions.create(model=model, messages=said)
        for event in chat.responses.create(model="gpt-4.1", input="Hello?", stream=True):
            assert event
        chat.embeddings.create(model="text-embedding-3-small", input="Hello?")
    with httpx2.Client(proxy=running.proxy_url("alice", token), verify=context, trust_env=False, timeout=60) as client:
        claude = anthropic.Anthropic(api_key="none", http_client=client, max_retries=0)
        with claude.messages.stream(model="claude-haiku-4-5", max_tokens=50, messages=said) as stream:
            stream.until_done()
    yield running
    running.stop()


def reconcile(proxy, *arguments, code=0):
    command = ["usage", "reconcile", "--config", "wirekey.yaml", "--until", "0s", *arguments]
    done = wirekey(proxy.folder, *command, environ={**proxy.environ, **ADMIN}, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    for key in PROVIDER_KEYS.values():
        assert key not in done.stdout + done.stderr
    return done


def groups(done):
    return {one["model"]: one for one in json.loads(done.stdout)["groups"]}


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_tokens_of_the_provider_s_api_agree_with_the_audit_log(proxy, provider):
    found = groups(reconcile(proxy, "--provider", provider, "--api", "--key", REFERENCES[provider], "--json"))
    models = {"openai": {"gpt-4o-mini", "gpt-4.1", "text-embedding-3-small"}, "anthropic": {"claude-haiku-4-5"}}
    assert found.keys() == models[provider]
    for one in found.values():
        assert one["recorded"]["input_tokens"] == one["reported"]["input_tokens"] > 0
        assert one["reported"]["cost_usd"] > 0
        assert one["differs"] == []


def test_a_saved_report_of_usage_agrees(proxy, simulator, tmp_path):
    file = save(simulator, tmp_path, "usage/completions", "model")
    said = reconcile(proxy, "--provider", "openai", "--from", str(file), code=1).stdout
    assert "gpt-4o-mini" in said
    embeddings = save(simulator, tmp_path, "usage/embeddings", "model")
    said = reconcile(proxy, "--provider", "openai", "--from", str(file), "--from", str(embeddings)).stdout
    assert said.splitlines()[-1].endswith("All 3 agree.")


def save(simulator, folder, report, *groups):
    parameters = [("start_time", int(time.time()) - 5 * 86400), *(("group_by", group) for group in groups)]
    url = f"{simulator.url}/v1/organization/{report}"
    headers = {"authorization": f"Bearer {PROVIDER_KEYS['openai']}"}
    found = httpx.get(
        url,
        params=parameters,
        headers=headers,
        verify=ssl.create_default_context(cafile=simulator.ca_file),
        trust_env=False,
    )
    file = folder / f"{report.replace('/', '-')}.json"
    file.write_bytes(found.raise_for_status().content)
    return file


def test_keys_are_compared_by_their_ids(proxy):
    same = f"openai/1={key_id(PROVIDER_KEYS['openai'])}"
    arguments = ("--provider", "openai", "--api", "--key", REFERENCES["openai"], "--same", same, "--json")
    found = json.loads(reconcile(proxy, *arguments).stdout)["groups"]
    assert {one["key"] for one in found} == {key_id(PROVIDER_KEYS["openai"])}
    assert not [one for one in found if {"input_tokens", "output_tokens"} & set(one["differs"])]


def test_a_call_that_is_missing_in_the_audit_log_is_found(proxy, simulator, tmp_path):
    file = save(simulator, tmp_path, "usage/completions", "model")
    audit = proxy.folder / "state" / "audit.db"
    with contextlib.closing(sqlite3.connect(audit)) as database:
        database.execute("UPDATE calls SET provider = 'gone' WHERE model = 'gpt-4o-mini'")
        database.commit()
    try:
        said = reconcile(proxy, "--provider", "openai", "--from", str(file), code=1).stdout
        assert "no such call passed through Wirekey: another program has a key" in said
    finally:
        with contextlib.closing(sqlite3.connect(audit)) as database:
            database.execute("UPDATE calls SET provider = 'openai' WHERE provider = 'gone'")
            database.commit()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--provider", "openai"], 2, "Name the report: --from FILE or --api."),
        (["--provider", "openai", "--api"], 2, "--api needs --key"),
        (["--provider", "bedrock", "--api", "--key", "env:OPENAI_ADMIN_KEY"], 2, "has no API of reports"),
        (["--provider", "openai", "--api", "--key", "env:MISSING_KEY"], 2, "MISSING_KEY is not set"),
        (["--provider", "openai", "--api", "--key", "sk-admin-x1x1x1x1x1x1x1x1x1x1"], 2, "looks like a secret"),
        (["--provider", "anthropic", "--api", "--key", "env:OPENAI_ADMIN_KEY"], 1, "need an admin key"),
        (["--provider", "openai", "--from", "wirekey.yaml"], 1, "is not a report of openai"),
        (["--provider", "openai", "--from", "wirekey.yaml", "--same", "openai/1"], 1, "is not a report"),
    ],
)
def test_mistakes_are_explained(proxy, arguments, code, says):
    done = reconcile(proxy, *arguments, code=code)
    assert says in done.stderr
    assert "sk-admin" not in done.stderr


def test_usage_alone_is_still_a_command(proxy):
    done = wirekey(proxy.folder, "usage", "--config", "wirekey.yaml", environ=proxy.environ)
    assert "There are no quotas." in done.stdout
