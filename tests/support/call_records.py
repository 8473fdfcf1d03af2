"""Calls with a model name each, by which the provider's requests and the audit events are compared."""

from __future__ import annotations

import itertools
import json
import ssl
from typing import TYPE_CHECKING

import httpx

from tests.support.running import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.running import SimulatorThread, Wirekey

UNKNOWN = 0
"""The status of a call whose connection ended without a response."""


class Calls:
    """Calls through a proxy. `outcomes` returns the recorded outcomes by model, None for a call in progress."""

    def __init__(
        self, simulator: SimulatorThread, proxy: Wirekey, outcomes: Callable[[], dict[str, str | None]]
    ) -> None:
        self.simulator, self.proxy, self.outcomes = simulator, proxy, outcomes
        self.url = proxy.proxy_url("alice", proxy.add_agent("alice"))
        self.client = httpx.Client(
            proxy=self.url, verify=ssl.create_default_context(cafile=proxy.root), timeout=60, trust_env=False
        )
        self.numbers = itertools.count()
        self.statuses: dict[str, int] = {}

    def call(self, stream: bool) -> int:
        """Make a call and return its status."""
        model = f"write-{next(self.numbers)}"
        body = {"model": model, "messages": [{"role": "user", "content": "Hello?"}], "stream": stream}
        response = self.client.post("https://api.openai.com/v1/chat/completions", json=body)
        self.statuses[model] = response.status_code
        return response.status_code

    def most_of(self, stream: bool, counted: Callable[[], int]) -> int:
        """Return by how much a counter rises during a call, until its outcome is recorded: the most of a few calls."""
        counts = []
        for _ in range(3):
            self.settle()
            before = counted()
            assert self.call(stream) == 200
            self.settle()
            counts.append(counted() - before)
        return max(counts)

    def settle(self) -> None:
        """Wait until each recorded call has its outcome."""
        wait_for(lambda: None not in self.outcomes().values(), "each outcome")

    def until_it_serves(self, stream: bool) -> None:
        """Call until Wirekey accepts calls again. It repeats a failed write after half a second."""
        wait_for(lambda: self.call(stream) == 200, "a call to succeed after the fault")

    def sent(self) -> set[str]:
        """Return the models that the provider has seen."""
        return {json.loads(request.body)["model"] for request in self.simulator.seen}

    def check_records(self, situation: str) -> None:
        """Assert that the provider has seen no call without a record."""
        sent, recorded = self.sent(), self.outcomes().keys()
        assert sent <= recorded, f"sent without a record: {sent - recorded} ({situation})"

    def check_end(self) -> None:
        """Assert that each call that succeeded is recorded as completed, and that no refused one was sent."""
        self.settle()
        self.check_records("at the end")
        answered = {model for model, status in self.statuses.items() if status == 200}
        assert answered <= self.sent()
        outcomes = self.outcomes()
        assert {outcomes[model] for model in answered} == {"completed"}
        assert not self.sent() & {model for model, status in self.statuses.items() if status == 503}
