"""Clients that call without a pause until they are told to stop, and note each call that fails."""

from __future__ import annotations

import itertools
import json
import threading

from tests.support.load import chat, tunnel
from tests.support.raw_client import RawClient, post


def gateway_chat(token: str, model: str, *, stream: bool = False) -> bytes:
    body = {"model": model, "messages": [{"role": "user", "content": model}], "stream": stream}
    return post(f"Authorization: Bearer {token}", host="localhost", body=json.dumps(body).encode())


class SteadyLoad:
    """`clients` threads, half of them through the proxy, half at the gateway. Every other call is streamed.

    Each keeps its connection until a response ends it. `prefix` begins the name of each call's model.
    """

    def __init__(self, proxy, token: str, clients: int, prefix: str = "steady") -> None:
        self.proxy, self.token, self.prefix = proxy, token, prefix
        self.numbers = itertools.count()
        self.ended = threading.Event()
        self.answered: list[str] = []
        self.failures: list[tuple[str, str]] = []
        self.connections = 0
        self.threads = [
            threading.Thread(target=self.call_on, args=(number % 2,), daemon=True) for number in range(clients)
        ]
        for thread in self.threads:
            thread.start()

    def call_on(self, at_gateway: int) -> None:
        while not self.ended.is_set():
            model = "no call"
            try:
                with self.connection(at_gateway) as client:
                    self.connections += 1
                    keeps = True
                    while keeps and not self.ended.is_set():
                        model = f"{self.prefix}-{next(self.numbers)}"
                        keeps = self.call(client, model, at_gateway)
            except (OSError, AssertionError, ValueError) as error:
                self.failures.append((model, repr(error)))

    def connection(self, at_gateway: int) -> RawClient:
        return RawClient(self.proxy.running.gateway) if at_gateway else tunnel(self.proxy, self.token)

    def call(self, client: RawClient, model: str, at_gateway: int) -> bool:
        stream = hash(model) % 2 == 0
        at_proxy = chat(model, stream=stream, said=model)
        client.send(gateway_chat(self.token, model, stream=stream) if at_gateway else at_proxy)
        response = client.read_response()
        if response.status != 200 or (stream and not response.body.rstrip().endswith(b"data: [DONE]")):
            self.failures.append((model, f"{response.status} {response.body[:200]!r}"))
            return False
        self.answered.append(model)
        return response.headers.get("connection") != "close"

    def stop(self) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive(), "a client hangs"
