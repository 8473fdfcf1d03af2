"""One running Wirekey with the simulator behind it, and the rules that each technique tries to break."""

from __future__ import annotations

import contextlib
import json
import os
import re
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.features.jwt.jwt_making import pem, rsa_key
from tests.redteam.listeners import Resolver, Trap, lie
from tests.redteam.technique import NAMESPACE, ROOT, Result, Technique
from tests.support.canaries import Canaries, files_below
from tests.support.raw_client import RawClient
from tests.support.raw_upstream import RawUpstream
from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, SimulatorThread, Wirekey, behind
from wirekey.core.call import new_call_id
from wirekey.core.identity.stored_runs import NewRun, StoredRuns
from wirekey.core.identity.tokens import token_id

INSIDE = "WIREKEY_REDTEAM_INSIDE"
"""A variable of the environment of a run in a network namespace of its own."""

OPENAI = "api.openai.com"
OWN_KEY = "sk-key-of-the-attacker-5b1d70"
"""A provider key of the untrusted program itself."""
FORM_MODEL = re.compile(rb'(?i)name="?model"?[^\r\n]*(?:\r\n[^\r\n]+)*\r\n\r\n([^\r\n]*)')
SUCCEEDED = re.compile(r"(HTTP/\S+ )?2\d\d\b|exit 0\b")
LISTEN = dict.fromkeys(("forward", "gateway", "console"), "127.0.0.1:0")
ISSUER = "https://id.redteam.example"
SHORT = 5.0
"""Seconds to wait for a response."""
RECORDED = 60.0
"""Seconds to wait for the record of a request that arrived. A busy machine needs some."""


class Started(Wirekey):
    """A Wirekey whose environment has the keys, as that of a forked process has not."""

    new_process = True


class Ground:
    """What the untrusted program has: the address of the proxy, its CA, and the token of the agent alice.

    `tokens`: by name, others that it once had.
    """

    def __init__(self, simulator: SimulatorThread, proxy: Wirekey, trap: Trap) -> None:
        self.simulator, self.proxy, self.trap = simulator, proxy, trap
        self.token = proxy.add_agent("alice", labels={"team": "red"})
        self.others = {name: proxy.add_agent(name) for name in ("bob", "carol")}
        agents = proxy.agents
        runs = StoredRuns(agents)
        self.tokens = {
            "a run that has ended": runs.start("bob", NewRun("ended"), lifetime=3600),
            "an agent that was revoked": self.others["carol"],
            "a token that has expired": agents.issue_token("bob", "short", 0.001),
            "a token that was dropped": (dropped := agents.issue_token("bob", "dropped", 3600)),
        }
        agents.drop_token("bob", token_id(dropped))
        runs.end("ended")
        agents.revoke("carol")
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

    def to_listener(self, name: str, data: bytes) -> str:
        """Send bytes to the gateway or the console. Returns all that is received."""
        with RawClient(getattr(self.proxy.running, name)) as client:
            client.socket.settimeout(SHORT)
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
        self.trap.dials.clear()
        time.sleep(0.002)
        began = new_call_id()
        try:
            text = technique.attack(self)
        except (OSError, ssl.SSLError, AssertionError, subprocess.TimeoutExpired) as error:
            text = f"{type(error).__name__}: {error}"
        broken = [f"shows the {place}" for place in self.canaries.found_in(text.encode())]
        broken += self.unrecorded(began, technique)
        broken += [f"{address} was dialled" for address in self.trap.forbidden()]
        if technique.refused and SUCCEEDED.match(text):
            broken.append("it was not refused")
        return Result(number, technique, text.partition("\r\n")[0][:80], tuple(broken))

    def unrecorded(self, began: str, technique: Technique) -> list[str]:
        """Return what is wrong with the requests that arrived since `began`."""
        seen = self.simulator.seen
        if seen and not technique.may_arrive:
            return [f"{len(seen)} requests arrived"]
        deadline = time.monotonic() + RECORDED
        while len(calls := self.calls(began, technique.agent)) < len(seen) and time.monotonic() < deadline:
            time.sleep(0.01)
        broken = []
        if len(calls) < len(seen):
            broken.append(
                f"{len(seen)} requests arrived, {len(calls)} are recorded as allowed calls of {technique.agent}"
            )
        if technique.agent == "alice" and any(
            json.loads(call["labels"] or "{}").get("team") != "red" for call in calls
        ):
            broken.append("a verified label is not the agent's")
        without_model = calls and all(call["operation"].startswith("organization.") for call in calls)
        models = {call["model"] for call in calls}
        for request in seen:
            if OWN_KEY.encode() in b"".join(value for _, value in request.headers) + request.target.encode():
                broken.append("the program's own key arrived")
            if not without_model and not {ascii(name)[1:-1] for name in models_of(request.body)} <= models:
                broken.append("another model arrived than was recorded")
        return broken

    def calls(self, began: str, agent: str) -> list[dict]:
        """The recorded calls of an agent that the policy allowed."""
        return [
            event
            for event in self.proxy.events()
            if event["id"] > began[:13] and event["agent_id"] == agent and event["policy_result"] == "allow"
        ]

    def can_try(self, technique: Technique) -> bool:
        """Return whether the system has what a technique needs."""
        return {ROOT: not os.geteuid(), NAMESPACE: bool(os.environ.get(INSIDE))}.get(technique.needs, True)

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
    """Return each model that some reader could find in a form, or at the top of a JSON object."""
    found: set[str] = set()
    if forms := FORM_MODEL.findall(body):
        return {value.decode("latin-1") for value in forms}

    def pairs(members: list) -> dict:
        found.clear()  # the top is read last
        found.update(
            value.removeprefix("models/") for name, value in members if name == "model" and isinstance(value, str)
        )
        return {}

    with contextlib.suppress(ValueError, RecursionError):
        json.loads(body, object_pairs_hook=pairs)
    return found


def configuration(simulator: SimulatorThread, liar: RawUpstream, folder: Path) -> dict:
    """Return what is attacked: the simulator behind all providers but Mistral, which says what the program likes."""
    (folder / "issuer.pem").write_bytes(pem(rsa_key()))
    identity = {
        "jwt": {"issuers": [{"issuer": ISSUER, "key": str(folder / "issuer.pem")}]},
        "labels": {"headers": {"team": "x-team"}},
    }
    made = behind(simulator, listen=LISTEN, limits={"body_bytes": "1MiB"}, identity=identity)
    made["providers"]["mistral"]["upstream_url"] = liar.url
    return made


@contextlib.contextmanager
def ground(folder: Path) -> Iterator[Ground]:
    """Start the simulator and Wirekey, and what listens where no connection may be made."""
    assert set(KEY_ENVIRONMENT.values()) == set(PROVIDER_KEYS.values())
    everywhere = bool(os.environ.get(INSIDE))
    simulator = SimulatorThread(folder / "simulator")
    trap = Trap(everywhere=everywhere)
    if everywhere:
        Resolver()
    try:
        with RawUpstream(simulator.simulator.certificate_folder, lie) as liar:
            proxy = Started(folder / "wirekey", configuration(simulator, liar, folder), environ=KEY_ENVIRONMENT)
            try:
                yield Ground(simulator, proxy, trap)
            finally:
                proxy.stop()
    finally:
        simulator.stop()
