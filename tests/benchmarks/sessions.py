"""The sessions of tests/support/sessions.py through LiteLLM's proxy and through Wirekey: what each of them loses.

    python -m tests.benchmarks.sessions

Prints a table in the form of docs/comparison.md. Both proxies have the simulator as their provider, which refuses what
the providers refuse. A session that ends with an error says how many of its twelve turns it reached.
"""

from __future__ import annotations

import contextlib
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tests.benchmarks import litellm as litellm_proxy
from tests.support.running import PROVIDER_KEYS, SimulatorThread, wirekey_behind
from tests.support.sessions import (
    MEDIA,
    SCRIPT,
    AnthropicSession,
    ChatSession,
    GeminiSession,
    ResponsesSession,
    expected_turns,
    hold,
)
from wirekey_simulator.history import history

CLIENTS = {
    "Chat Completions": ChatSession,
    "Responses": ResponsesSession,
    "Gemini": GeminiSession,
    "Messages": AnthropicSession,
}
"""Formats that both proxies offer to clients, by their names in the table."""
MODELS = {
    "openai": "gpt-5",
    "gemini": "gemini-3-pro-preview",
    "anthropic": "claude-sonnet-4-5",
    "bedrock": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
}
OWN = {("Chat Completions", "openai"), ("Responses", "openai"), ("Gemini", "gemini"), ("Messages", "anthropic")}


@dataclass
class Held:
    """What became of a session: the turns until an error, and what differs from the scripted session."""

    turns: int
    losses: list[str]


class Recorder:
    """A session that keeps its turns, so that those before an error count."""

    def __init__(self, session) -> None:
        self.session = session
        self.turns: list = []

    def say(self, ask) -> None:
        self.session.say(ask)

    def results(self, results) -> None:
        self.session.results(results)

    def turn(self, model, ask):
        self.turns.append(self.session.turn(model, ask))
        return self.turns[-1]


def held(client, base: str, token: str, model: str, simulator: SimulatorThread, *, streamed: bool) -> Held:
    """Hold one session. Return how far it came, and what was lost on the way."""
    simulator.forget()
    recorder = Recorder(client(base, token, None, streamed=streamed))
    losses = []
    try:
        hold(recorder, [model] * len(SCRIPT))
    except Exception as error:
        losses.append(f"error: {sentence(error)}")
    for number, (turn, (text, calls)) in enumerate(zip(recorder.turns, expected_turns(), strict=False), 1):
        if turn.text != text:
            losses.append(f"text of turn {number}")
        if [(name, given) for _, name, given in turn.calls] != calls:
            losses.append(f"calls of turn {number}")
        if SCRIPT[number - 1].get("thought") and not turn.thought:
            losses.append("reasoning")
    bodies = [msgspec.json.decode(seen.body) for seen in simulator.seen if seen.body]
    if bodies:
        losses += upstream_losses(bodies[-1])
    return Held(len(recorder.turns), sorted(set(losses)))


def upstream_losses(body) -> list[str]:
    """Return what the last request lacks of the conversation."""
    turns = history(body)
    items = [item for turn in turns for item in turn.items]
    signed = [item for item in items if item.signature and not item.signature.startswith("skip_")]
    return [
        *(["image"] if MEDIA not in [item.text for item in items if item.kind == "media"] else []),
        *(["reasoning state"] if not signed else []),
    ]


def sentence(error: Exception) -> str:
    """Return the first words of an error."""
    if isinstance(error, AssertionError):
        return f"not true: {traceback.extract_tb(error.__traceback__)[-1].line}"
    return f"{type(error).__name__}: " + " ".join(str(error).split())[:400]


@contextlib.contextmanager
def litellm(folder: Path, simulator: SimulatorThread) -> Iterator[tuple[str, str]]:
    """Run LiteLLM's proxy. Yields its URL and its key."""
    url = simulator.url
    parameters = {
        "openai": {"model": f"openai/{MODELS['openai']}", "api_base": f"{url}/v1", "api_key": PROVIDER_KEYS["openai"]},
        "gemini": {
            "model": f"gemini/{MODELS['gemini']}", "api_base": f"{url}/v1beta", "api_key": PROVIDER_KEYS["gemini"],
        },
        "anthropic": {
            "model": f"anthropic/{MODELS['anthropic']}", "api_base": url, "api_key": PROVIDER_KEYS["anthropic"],
        },
        "bedrock": {
            "model": f"bedrock/converse/{MODELS['bedrock']}", "aws_bedrock_runtime_endpoint": url,
            "api_key": PROVIDER_KEYS["bedrock"], "aws_region_name": "us-east-1",
        },
    }  # fmt: skip
    configuration = {
        "model_list": [{"model_name": f"to-{name}", "litellm_params": one} for name, one in parameters.items()],
        "general_settings": {"master_key": litellm_proxy.KEY},
        "litellm_settings": {"ssl_verify": str(simulator.ca_file), "telemetry": False, "num_retries": 0,
                             "drop_params": True, "modify_params": True},
    }  # fmt: skip
    environ = {"SSL_CERT_FILE": str(simulator.ca_file), "AWS_BEARER_TOKEN_BEDROCK": PROVIDER_KEYS["bedrock"]}
    with litellm_proxy.running(folder / "litellm", configuration, environ) as (_, port):
        yield f"http://127.0.0.1:{port}", litellm_proxy.KEY


def main() -> None:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        simulator = SimulatorThread(folder / "simulator")
        routes = [
            {
                "match": f"to-{name}",
                "provider": name,
                "model": model,
                **({"speaks": "gemini"} if name == "gemini" else {}),
            }
            for name, model in MODELS.items()
        ]
        listen = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
        wirekey = stack.enter_context(wirekey_behind(folder / "wirekey", simulator, listen=listen, routes=routes))
        ways = {
            "LiteLLM": stack.enter_context(litellm(folder, simulator)),
            "Wirekey": (f"http://{wirekey.running.gateway}", wirekey.add_agent("alice")),
        }
        print("| client | upstream | | " + " | ".join(ways) + " |\n|" + "---|" * (3 + len(ways)))
        for client, upstream, streamed in (
            (client, upstream, streamed) for client in CLIENTS for upstream in MODELS for streamed in (False, True)
        ):
            if (client, upstream) in OWN:
                continue
            cells = []
            for base, token in ways.values():
                found = held(CLIENTS[client], base, token, f"to-{upstream}", simulator, streamed=streamed)
                lost = "; ".join(found.losses) or "nothing lost"
                cells.append(f"{found.turns} turns: {lost}".replace("|", "/"))
            print(
                f"| {client} | {upstream} | {'streamed' if streamed else 'plain'} | {' | '.join(cells)} |", flush=True
            )
        simulator.stop()


if __name__ == "__main__":
    main()
