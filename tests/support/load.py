"""Clients that call without a pause, each time with another model name, until the proxy has ended."""

from __future__ import annotations

import itertools
import json
import threading
import time

from tests.support.raw_client import RawClient, post
from wirekey.core.call import new_call_id

OPENAI = "api.openai.com"


def chat(model: str, *, stream: bool = False, lines: tuple[str, ...] = (), said: str = "hello") -> bytes:
    body = {"model": model, "messages": [{"role": "user", "content": said}], "stream": stream}
    return post(*lines, body=json.dumps(body).encode())


def now() -> str:
    """Return a call id that sorts before those of all later calls. Ids of one millisecond are not in order."""
    found = new_call_id()
    time.sleep(0.002)
    return found


class Load:
    """`clients` threads that call until each has lost its connection. Every other call is streamed.

    `ending` is appended to each model's name.
    """

    def __init__(self, proxy, token: str, clients: int, name: str, ending: str = "") -> None:
        self.proxy, self.token, self.name, self.ending = proxy, token, name, ending
        self.numbers = itertools.count()
        self.answered: list[str] = []
        """Models whose response was read to its end."""
        self.first_answer = threading.Event()
        self.threads = [threading.Thread(target=self.call_on, daemon=True) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def call_on(self) -> None:
        try:
            with tunnel(self.proxy, self.token) as client:
                while True:
                    number = next(self.numbers)
                    model = f"{self.name}-{number}{self.ending}"
                    client.send(chat(model, stream=number % 2 == 0, said=model))
                    if client.read_response().status != 200:
                        return
                    self.answered.append(model)
                    self.first_answer.set()
        except (OSError, AssertionError):
            return  # the proxy is gone

    def join(self) -> None:
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive(), "a client hangs on a proxy that is gone"


def tunnel(proxy, token: str, host: str = OPENAI, agent: str = "alice") -> RawClient:
    """A client inside a tunnel, TLS done. Raises OSError, AssertionError where the proxy refuses or is gone."""
    client = RawClient(proxy.running.forward)
    try:
        answer = client.connect(f"{host}:443", agent, token)
        assert answer.status == 200, answer
        client.start_tls(proxy.root, host)
    except BaseException:
        client.socket.close()
        raise
    return client
