"""A program that calls a running Wirekey."""

from __future__ import annotations

import httpx

from tests.support.running import Wirekey


class Program:
    """A program of one agent, at the gateway."""

    def __init__(self, wirekey: Wirekey, agent: str = "alice") -> None:
        self.wirekey = wirekey
        self.token = wirekey.add_agent(agent)

    def call(self, content: str = "Hello", key: str | None = None) -> httpx.Response:
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": content}]}
        with httpx.Client(trust_env=False, timeout=60) as client:
            return client.post(
                f"http://{self.wirekey.running.gateway}/v1/chat/completions",
                json=body,
                headers={"authorization": f"Bearer {key or self.token}"},
            )
