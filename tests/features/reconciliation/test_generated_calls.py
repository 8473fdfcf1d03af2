"""After generated calls to all providers, their reports and bills differ from the audit log by nothing.

The numbers of tokens are drawn before each call, and the simulator is told to report them. The bill is made from those
numbers, in exact arithmetic, so that neither the simulator's nor Wirekey's readers of responses take part in it.
"""

from __future__ import annotations

import csv
import io
import json
import os
import random
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction

import httpx
import pytest

from tests.metering.exact_bill import Bill, dollars
from tests.support.own_simulator import simulator
from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, behind
from tests.support.running import Wirekey as RunningWirekey
from tests.support.serving import wirekey

__all__ = ["simulator"]

ROUNDS = int(os.environ.get("WIREKEY_BILL_ROUNDS", "1"))
CALLS = 120 if ROUNDS == 1 else 900
"""Calls of a round: the simulator keeps the last 1000 for its reports."""
CLIENTS = 4
CLOSE = 1e-9
"""US dollars. The sum of a round is added up in floats, each rounded to twelve decimals."""
ADMIN = {"OPENAI_ADMIN_KEY": PROVIDER_KEYS["openai"], "ANTHROPIC_ADMIN_KEY": PROVIDER_KEYS["anthropic"]}
A_DOLLAR = {"match": "*", "provider": ["openai", "anthropic"], "input": 1, "output": 1, "cache_write_1h": 1}
"""What the simulator bills for a million tokens of OpenAI and Anthropic, of whatever kind and model."""
LISTS = {"gemini": "google", "bedrock": "aws", "mistral": "mistral"}
SERVICES = {
    "gemini-2.5-pro": "Generate content input token count Gemini 2.5 Pro short input",
    "gemini-2.5-flash": "Generate content input token count Gemini 2.5 Flash",
    "gemini-2.5-flash-lite": "Generate content input token count Gemini 2.5 Flash Lite",
}
"""Model → how Google's bill names it."""


@dataclass(frozen=True)
class Request:
    """A request to generate, and how to make it at the gateway."""

    provider: str
    path: str
    body: dict
    model: str
    stream: bool = False


def requests(chance: random.Random) -> Request:
    """Draw a request to one of the providers."""
    said, stream = [{"role": "user", "content": "How are you?"}], chance.random() < 0.5
    parts = [{"parts": [{"text": "How are you?"}], "role": "user"}]
    streamed = {"stream": True} if stream else {}
    match chance.choice(["chat", "responses", "anthropic", "gemini", "bedrock", "mistral"]):
        case "chat":
            model = chance.choice(["gpt-4o-mini", "gpt-4.1", "gpt-5.1"])
            return Request("openai", "/v1/chat/completions", {"model": model, "messages": said, **streamed}, model)
        case "responses":
            model = chance.choice(["gpt-4.1", "gpt-5.1"])
            return Request("openai", "/v1/responses", {"model": model, "input": "How are you?", **streamed}, model)
        case "anthropic":
            model = chance.choice(["claude-haiku-4-5", "claude-sonnet-4-5"])
            body = {"model": model, "max_tokens": 99, "messages": said, **streamed}
            return Request("anthropic", "/v1/messages", body, model)
        case "gemini":
            model = chance.choice(list(SERVICES))
            path = f"/v1beta/models/{model}:" + ("streamGenerateContent?alt=sse" if stream else "generateContent")
            return Request("gemini", path, {"contents": parts}, model)
        case "bedrock":
            model = chance.choice(["amazon.nova-lite-v1:0", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"])
            path = f"/model/{model.replace(':', '%3A')}/" + ("converse-stream" if stream else "converse")
            body = {"messages": [{"role": "user", "content": [{"text": "How are you?"}]}]}
            return Request("bedrock", path, body, model)
        case _:
            model = chance.choice(["mistral-large-latest", "mistral-small-latest"])
            return Request("mistral", "/v1/chat/completions", {"model": model, "messages": said, **streamed}, model)


@dataclass(frozen=True)
class Billed:
    """One call that was served, with the tokens that the provider counted."""

    provider: str
    model: str
    bill: Bill
    day: str


class Caller:
    """Makes generated calls at the gateway, each with its own number as the seed."""

    def __init__(self, proxy: RunningWirekey, token: str, round_number: int) -> None:
        self.token, self.round = token, round_number
        self.client = httpx.Client(base_url=f"http://{proxy.running.gateway}", trust_env=False, timeout=60)

    def headers(self, provider: str) -> dict[str, str]:
        if provider == "anthropic":
            return {"x-api-key": self.token, "anthropic-version": "2023-06-01"}
        return {"authorization": f"Bearer {self.token}"}

    def make(self, number: int) -> Billed | None:
        """Make a call. Return what it costs, or None if it was one that the provider refuses."""
        chance = random.Random(f"{self.round} {number}")
        request = requests(chance)
        cached = chance.choice([0, chance.randrange(1, 400_000)])
        text = chance.choice([chance.randrange(1, 300), chance.randrange(1, 400_000)])
        output = chance.randrange(1, 20_000)
        refused = chance.random() < 0.1
        words = [f"tokens={output}", f"input-tokens={text + cached}", f"cached-tokens={cached}"]
        words += ["fail=400"] if refused else []
        response = self.client.post(
            f"/api/v1/{request.provider}{request.path}",
            json=request.body,
            headers=self.headers(request.provider) | {"x-simulator": ", ".join(words)},
        )
        assert response.status_code == (400 if refused else 200), response.text
        bill = Bill({"text": text, "cached": cached, "output": output})
        day = f"{datetime.now(UTC):%Y-%m-%d}"
        return None if refused else Billed(request.provider, request.model, bill, day)


def exact_cost(one: Billed) -> Fraction:
    """Return the cost of a call by the list of its provider."""
    return dollars(one.bill, PRICES[one.provider][one.model], LISTS[one.provider], one.model)


def prices_of(provider: str) -> dict:
    from genai_prices.data_snapshot import get_snapshot

    snapshot = get_snapshot()
    listed = snapshot.find_provider(None, LISTS[provider], None)
    names = {
        "gemini": SERVICES,
        "bedrock": ("amazon.nova-lite-v1:0", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        "mistral": ("mistral-large-latest", "mistral-small-latest"),
    }[provider]
    now = datetime.now(UTC)
    found = {name: listed.find_model(name, all_providers=snapshot.providers) for name in names}
    return {name: model.get_prices(now) for name, model in found.items()}


PRICES = {provider: prices_of(provider) for provider in LISTS}


def bill_of(provider: str, calls: list[Billed]) -> str:
    """Return the bill of a provider as a file that it exports."""
    sums: defaultdict[tuple[str, str], Fraction] = defaultdict(Fraction)
    for one in calls:
        if one.provider == provider:
            sums[one.day, one.model] += exact_cost(one)
    text = io.StringIO()
    writer = csv.writer(text)
    if provider == "bedrock":
        writer.writerow(["line_item_usage_start_date", "line_item_product_code", "line_item_unblended_cost"])
        writer.writerows([f"{day}T00:00:00Z", "AmazonBedrock", f"{cost:.12f}"] for (day, _), cost in sums.items())
    else:
        writer.writerow(["service.description", "sku.description", "usage_start_time", "cost", "currency"])
        rows = ([SERVICES[model], f"{day} 08:00:00 UTC", f"{cost:.12f}"] for (day, model), cost in sums.items())
        writer.writerows(["Gemini API", *row, "USD"] for row in rows)
    return text.getvalue()


def reconciled(proxy: RunningWirekey, provider: str, *source: str) -> list[dict]:
    """Return what `usage reconcile` compares, without any tolerance for tokens."""
    command = ["usage", "reconcile", "--config", "wirekey.yaml", "--until", "0s", "--json", "--tolerance", "0"]
    done = wirekey(
        proxy.folder, *command, "--provider", provider, *source, environ={**proxy.environ, **ADMIN}, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)["groups"]


@pytest.mark.parametrize("number", range(ROUNDS))
def test_the_reports_and_bills_of_all_providers_differ_by_nothing(number, simulator, tmp_path, record_property):
    simulator.simulator.reset()
    listen = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
    configuration = behind(simulator, listen=listen, prices={"models": [A_DOLLAR]})
    proxy = RunningWirekey(tmp_path / "wirekey", configuration, environ=KEY_ENVIRONMENT)
    try:
        caller = Caller(proxy, proxy.add_agent("alice"), number)
        with ThreadPoolExecutor(CLIENTS) as threads:
            made = list(threads.map(caller.make, range(CALLS)))
        events = proxy.finished_events(CALLS)
        served = [one for one in made if one is not None]
        assert {one.provider for one in served} == {*PROVIDER_KEYS}
        for provider in ("openai", "anthropic"):
            key = f"env:{provider.upper()}_ADMIN_KEY"
            check_tokens_and_costs(reconciled(proxy, provider, "--api", "--key", key), served, provider)
        for provider in ("gemini", "bedrock"):
            file = tmp_path / f"{provider}.csv"
            file.write_text(bill_of(provider, served))
            check_costs(reconciled(proxy, provider, "--from", str(file)))
        # Mistral has no report. Its calls are compared with the bill itself.
        check_sum(events, served, "mistral")
        record_property("calls reconciled", len(served))
    finally:
        proxy.stop()


def check_tokens_and_costs(groups: list[dict], served: list[Billed], provider: str) -> None:
    check_costs(groups)
    for one in groups:
        for name in ("input_tokens", "output_tokens"):
            assert one["recorded"][name] == one["reported"][name] > 0, one
    bills = [one.bill for one in served if one.provider == provider]
    assert sum(one["recorded"]["input_tokens"] for one in groups) == sum(bill.input for bill in bills)
    assert sum(one["recorded"]["output_tokens"] for one in groups) == sum(bill.of("output") for bill in bills)


def check_costs(groups: list[dict]) -> None:
    assert groups
    for one in groups:
        assert one["differs"] == []
        assert one["recorded"]["cost_usd"] == pytest.approx(one["reported"]["cost_usd"], abs=CLOSE) != 0, one


def check_sum(events: list[dict], served: list[Billed], provider: str) -> None:
    expected = sum(exact_cost(one) for one in served if one.provider == provider)
    found = sum(event["cost_usd"] or 0 for event in events if event["provider"] == provider)
    assert found == pytest.approx(float(expected), abs=CLOSE) != 0
