"""`wirekey prices`: which price counts and from where, and which models were called without one."""

import asyncio
import json

import pytest
from click.testing import CliRunner

from wirekey.cli.main import group
from wirekey.core.audit.sqlite import SqliteAudit
from wirekey.core.audit.store import AuditStore
from wirekey.core.call import Call, Outcome
from wirekey.core.metering.own_prices import OwnPrices, use_own_prices
from wirekey.core.operation import Usage

SETTINGS = """
prices:
  models:
    - {match: "gpt-9*", provider: openai, input: 1.5, output: 10}
  default: {input: 20, output: 40}
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "wirekey.yaml").write_text(SETTINGS)
    monkeypatch.chdir(tmp_path)
    yield lambda *words: CliRunner().invoke(group, ["prices", *words], catch_exceptions=False)
    use_own_prices(OwnPrices())


def sources(shown):
    return {row["provider"]: row["source"] for row in json.loads(shown.output)}


def test_show_says_which_price_counts_and_from_where(run):
    shown = run("show", "gpt-9-mini", "--json")
    assert shown.exit_code == 0
    assert sources(shown)["openai"] == "prices.models[0]"
    assert sources(shown)["anthropic"] == "prices.default"
    assert sources(run("show", "claude-opus-5", "--json"))["anthropic"] == "anthropic: claude-opus-5"
    line = next(line for line in run("show", "gpt-5.5").output.splitlines() if line.startswith("openai "))
    assert "5 / 10" in line, "a longer request costs more"


def test_show_fails_for_a_model_without_a_price_and_an_unknown_provider(run, tmp_path):
    (tmp_path / "wirekey.yaml").write_text("")
    unknown = run("show", "gpt-9-mini")
    assert (unknown.exit_code, "prices.models" in unknown.stderr) == (1, True)
    assert run("show", "gpt-5", "--provider", "nobody").exit_code == 2


def record(folder, *calls):
    async def write():
        store = AuditStore(SqliteAudit(folder / "state" / "audit.db"))
        store.start()
        for call in calls:
            store.record_final(call)
        await store.close()

    asyncio.run(write())


def call(model, cost_usd, tier=None):
    made = Call(provider="openai", model=model, outcome=Outcome.COMPLETED, cost_usd=cost_usd, service_tier=tier)
    made.usage = Usage(input_tokens=1, output_tokens=1)
    return made


def test_check_lists_models_and_tiers_that_were_called_without_a_price(run, tmp_path):
    assert run("check").exit_code == 0
    refused = Call(provider="openai", model="refused", outcome=Outcome.DENIED)
    record(tmp_path, call("a", None), call("a", None), call("b", None, "scale"), call("c", 0.5), refused)
    found = run("check", "--since", "30d", "--json")
    assert found.exit_code == 1
    assert json.loads(found.output) == [
        {"provider": "openai", "model": "a", "service_tier": None, "calls": 2},
        {"provider": "openai", "model": "b", "service_tier": "scale", "calls": 1},
    ]
    assert "scale" in run("check").output
    assert run("check", "--since", "0s").exit_code == 0
