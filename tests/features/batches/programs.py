"""Programs that make and read batches, each with an agent of its own and with the real SDKs."""

from __future__ import annotations

import json
import ssl
from itertools import count
from pathlib import Path

import anthropic
import httpx
import httpx2
import openai
from google import genai
from google.genai import types

from tests.support.running import KEY_ENVIRONMENT, PATIENCE, Wirekey, behind, wait_for
from wirekey.features.quotas.ledger import totals_in

SECRET = "Canary-question-8f31"
MODEL = "gpt-4o-mini"
QUOTAS = [
    {"name": "dollars", "per": "agent", "usd_per_day": 1000},
    {"name": "poor", "per": "agent", "match": {"role": "poor"}, "usd_per_day": 0.000001},
]
numbers = count(1)


def start(folder: Path, simulator, quotas: list[dict]) -> Wirekey:
    """Start Wirekey in front of the simulator, with both listeners."""
    configuration = behind(simulator, quotas=quotas)
    configuration["listen"] = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
    return Wirekey(folder, configuration, environ=KEY_ENVIRONMENT)


class Program:
    """A program that calls through the proxy, or through the gateway."""

    def __init__(self, proxy: Wirekey, name: str = "maker", *, gateway: bool = False, **facts) -> None:
        self.proxy, self.gateway = proxy, gateway
        self.agent = f"{name}-{next(numbers)}"
        self.token = proxy.add_agent(self.agent, **facts)
        self.kept: list[genai.Client] = []
        self.url = "" if not gateway else f"http://{proxy.running.gateway}"

    def http_client(self, delivery: str = "", library=httpx):
        """A client of httpx, or of the fork of it that some SDKs need."""
        headers = {"x-simulator": delivery} if delivery else {}
        if self.gateway:
            return library.Client(headers=headers, timeout=PATIENCE, trust_env=False)
        return library.Client(
            proxy=self.proxy.proxy_url(self.agent, self.token),
            verify=ssl.create_default_context(cafile=self.proxy.root),
            headers=headers,
            timeout=PATIENCE,
            trust_env=False,
        )

    def openai(self, delivery: str = "") -> openai.OpenAI:
        key, base = (self.token, f"{self.url}/v1") if self.gateway else ("none", "https://api.openai.com/v1")
        return openai.OpenAI(api_key=key, base_url=base, http_client=self.http_client(delivery), max_retries=0)

    def anthropic(self, delivery: str = "") -> anthropic.Anthropic:
        key, base = (self.token, self.url) if self.gateway else ("none", "https://api.anthropic.com")
        client = self.http_client(delivery, httpx2)
        return anthropic.Anthropic(api_key=key, base_url=base, http_client=client, max_retries=0)

    def gemini(self, delivery: str = "") -> genai.Client:
        key, base = (self.token, self.url) if self.gateway else ("none", "https://generativelanguage.googleapis.com")
        headers = {"x-simulator": delivery} if delivery else {}
        arguments: dict = {"trust_env": False}
        if not self.gateway:
            arguments["proxy"] = self.proxy.proxy_url(self.agent, self.token)
            arguments["verify"] = ssl.create_default_context(cafile=self.proxy.root)
        options = types.HttpOptions(base_url=base, headers=headers, client_args=arguments)
        client = genai.Client(api_key=key, http_options=options)
        self.kept.append(client)  # it closes its connections when it is freed
        return client

    def spent(self) -> float:
        """What the ledger has for the agent, in dollars."""
        totals = totals_in(self.proxy.state / "quotas.db")
        return (
            sum(total.amount for key, total in totals.items() if key.endswith(f":{self.agent}") and "usd" in key) / 1e9
        )

    def settlements(self, number: int = 1) -> list[dict]:
        """The events of settled batches of the agent, once there are so many."""

        def found():
            events = settlements(self.proxy, self.agent)
            return events if len(events) >= number else None

        return wait_for(found, f"{number} settled batches of {self.agent}")


def settlements(proxy: Wirekey, agent: str) -> list[dict]:
    return [
        event for event in proxy.events() if event["operation"] == "batch.settlement" and event["agent_id"] == agent
    ]


def chat(question: str = SECRET, model: str = MODEL) -> dict:
    return {"model": model, "messages": [{"role": "user", "content": question}], "max_tokens": 50}


def openai_batch(client: openai.OpenAI, bodies: dict[str, dict], *, usage: bool = False, endpoint: str = "") -> str:
    """Upload requests, and make a batch of them. Return its id. `usage`: whether its status says what it has used."""
    url = endpoint or "/v1/chat/completions"
    lines = [{"custom_id": name, "method": "POST", "url": url, "body": body} for name, body in bodies.items()]
    content = "\n".join(json.dumps(line) for line in lines).encode()
    file = client.files.create(file=("in.jsonl", content), purpose="batch")
    metadata = {} if usage else {"usage": "none"}
    made = client.batches.create(input_file_id=file.id, endpoint=url, completion_window="24h", metadata=metadata)
    return made.id
