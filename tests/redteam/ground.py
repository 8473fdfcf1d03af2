"""One running Wirekey with the simulator behind it, and the rules that each technique tries to break."""

from __future__ import annotations

import contextlib
import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

from tests.redteam.technique import Result, Technique
from tests.support.canaries import Canaries, files_below
from tests.support.raw_client import RawClient
from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, SimulatorThread, Wirekey, wirekey_behind
from wirekey.core.call import new_call_id

OPENAI = "api.openai.com"
OWN_KEY = "sk-key-of-the-attacker-5b1d70"
"""A provider key of the untrusted program itself."""
SHORT = 5.0
"""Seconds to wait for a response."""
RECORDED = 60.0
"""Seconds to wait for the record of a request that arrived. A busy machine needs some."""


class Ground:
    """What the untrusted program has: the address of the proxy, its CA, and the token of the agent alice."""

    def __init__(self, simulator: SimulatorThread, proxy: Wirekey) -> None:
        self.simulator, self.proxy = simulator, proxy
        self.token = proxy.add_agent("alice")
        self.canaries = Canaries()
        for name, key in PROVIDER_KEYS.items():
            self.canaries.add(f"key of {name}", key)

    def client(self) -> RawClient:
        client = RawClient(self.proxy.running.forward)
        client.socket.settimeout(SHORT)
        return client

    def to_proxy(self, data: bytes) -> str:
        """Send bytes to the proxy, outside a tunnel. Returns all that is received."""
        with self.client() as client:
            return received(client, data)

    def in_tunnel(self, data: bytes, host: str = OPENAI, alpn: tuple[str, ...] = ("http/1.1",)) -> str:
        """Send bytes in a tunnel of alice. Returns all that is received."""
        with self.client() as client:
            if (status := client.connect(f"{host}:443", "alice", self.token).status) != 200:
                return str(status)
            client.start_tls(self.proxy.root, host, alpn)
            return received(client, data)

    def try_(self, number: int, technique: Technique) -> Result:
        """Make an attempt, and return which rules it broke."""
        self.simulator.forget()
        time.sleep(0.002)
        began = new_call_id()
        try:
            text = technique.attack(self)
        except (OSError, ssl.SSLError, AssertionError) as error:
            text = f"{type(error).__name__}: {error}"
        broken = [f"shows the {place}" for place in self.canaries.found_in(text.encode())]
        broken += self.unrecorded(began, technique.may_arrive)
        return Result(number, technique, text.partition("\r\n")[0][:80], tuple(broken))

    def unrecorded(self, began: str, may_arrive: bool) -> list[str]:
        """Return what is wrong with the requests that arrived since `began`."""
        seen = self.simulator.seen
        if seen and not may_arrive:
            return [f"{len(seen)} requests arrived"]
        deadline = time.monotonic() + RECORDED
        while len(calls := self.calls(began)) < len(seen) and time.monotonic() < deadline:
            time.sleep(0.01)
        broken = []
        if len(calls) < len(seen):
            broken.append(f"{len(seen)} requests arrived, {len(calls)} are recorded as allowed calls of alice")
        without_model = calls and all(call["operation"].startswith("organization.") for call in calls)
        models = {call["model"] for call in calls}
        for request in seen:
            if OWN_KEY.encode() in b"".join(value for _, value in request.headers) + request.target.encode():
                broken.append("the program's own key arrived")
            if not without_model and not {ascii(name)[1:-1] for name in models_of(request.body)} <= models:
                broken.append("another model arrived than was recorded")
        return broken

    def calls(self, began: str) -> list[dict]:
        """The recorded calls of alice that the policy allowed."""
        return [
            event
            for event in self.proxy.events()
            if event["id"] > began[:13] and event["agent_id"] == "alice" and event["policy_result"] == "allow"
        ]

    def leaks(self) -> list[str]:
        """Return the files below Wirekey's folder that have a provider key, with its name."""
        return [
            f"{name}: {place}"
            for name, data in files_below(self.proxy.folder).items()
            for place in self.canaries.found_in(data)
        ]


def received(client: RawClient, data: bytes) -> str:
    """Send bytes, and return all that is received until the end, or until nothing more is received in time."""
    with contextlib.suppress(OSError):
        client.send(data)
    whole = b""
    with contextlib.suppress(TimeoutError):
        while piece := client.receive_bytes():
            whole += piece
            client.socket.settimeout(0.15)
    return whole.decode("latin-1") or "closed without a response"


def models_of(body: bytes) -> set[str]:
    """Return each model that some reader of a JSON object could find at its top."""
    found: set[str] = set()

    def pairs(members: list) -> dict:
        found.clear()  # the top is read last
        found.update(value for name, value in members if name == "model" and isinstance(value, str))
        return {}

    with contextlib.suppress(ValueError, RecursionError):
        json.loads(body, object_pairs_hook=pairs)
    return found


@contextlib.contextmanager
def ground(folder: Path) -> Iterator[Ground]:
    """Start the simulator and Wirekey."""
    simulator = SimulatorThread(folder / "simulator")
    try:
        with wirekey_behind(folder / "wirekey", simulator, limits={"body_bytes": "1MiB"}) as proxy:
            assert set(KEY_ENVIRONMENT.values()) == set(PROVIDER_KEYS.values())
            yield Ground(simulator, proxy)
    finally:
        simulator.stop()
