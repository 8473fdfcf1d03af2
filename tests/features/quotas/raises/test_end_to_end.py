"""A raise in a running proxy: how soon it holds, that it ends by itself, and what is recorded of it."""

from __future__ import annotations

import ssl
import time

import httpx
import pytest
from click.testing import CliRunner

from tests.support.running import KEY_ENVIRONMENT, PATIENCE, SimulatorThread, Wirekey, behind, wait_for
from wirekey.cli.main import group

URL = "https://api.openai.com/v1/chat/completions"
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello."}], "max_tokens": 1000}
QUOTAS = [{"name": "tiny", "per": "agent", "requests_per_day": 1, "usd_lifetime": 1}]


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    simulator = SimulatorThread(tmp_path_factory.mktemp("simulator"))
    running = Wirekey(tmp_path_factory.mktemp("wirekey"), behind(simulator, quotas=QUOTAS), environ=KEY_ENVIRONMENT)
    yield running
    running.stop()
    simulator.stop()


def command(proxy: Wirekey, *words: str) -> None:
    result = CliRunner().invoke(group, ["quotas", *words, "--config", str(proxy.folder / "wirekey.yaml")])
    assert result.exit_code == 0, (result.output, result.exception)


@pytest.fixture
def call(proxy, request):
    """A function that calls as an agent of this test, and returns the code of the refusal, or None."""
    name = request.node.name.replace("_", "-")[:40]
    context = ssl.create_default_context(cafile=proxy.root)
    url = proxy.proxy_url(name, proxy.add_agent(name))
    with httpx.Client(proxy=url, verify=context, timeout=PATIENCE, trust_env=False) as client:

        def call() -> str | None:
            response = client.post(URL, json=CHAT)
            return None if response.status_code == 200 else response.json()["error"]["code"]

        call.agent = name
        yield call


def test_a_raise_of_one_agent_holds_within_two_seconds_and_ends_when_it_is_lowered(proxy, call):
    assert call() is None
    assert call() == "insufficient_quota"
    command(proxy, "raise", "tiny", call.agent, "--requests", "2", "--until", "1h", "--why", "A release.")
    wait_for(lambda: call() is None, "the raise")
    assert call() is None
    assert call() == "insufficient_quota", "two more than before"
    command(proxy, "raise", "tiny", call.agent, "--requests", "100", "--until", "1h", "--why", "Another.")
    wait_for(lambda: call() is None, "the second raise")
    command(proxy, "lower", "tiny", call.agent)
    wait_for(lambda: call() == "insufficient_quota", "the end of both")

    def recorded():
        found = [each for each in proxy.events() if each["operation"] in ("quota.raise", "quota.lower")]
        return found if len(found) == 4 else None

    events = wait_for(recorded, "the events")
    assert [each["method"] for each in events] == ["RAISE", "RAISE", "LOWER", "LOWER"]
    reason = events[0]["policy_reason"]
    assert reason.startswith(f"quota_raised: tiny for {call.agent} by 2 requests until ")
    assert reason.endswith(": A release.")


def test_a_raise_of_each_subject_ends_by_itself(proxy, call):
    assert call() is None
    command(proxy, "raise", "tiny", "--requests", "1000", "--until", "4s", "--why", "Short.")
    ends = time.monotonic() + 4
    wait_for(lambda: call() is None, "the raise")
    wait_for(lambda: call() == "insufficient_quota", "its end")
    assert time.monotonic() >= ends
