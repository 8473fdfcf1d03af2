"""The deliveries and paths that end-to-end tests combine with their tables of calls.

A delivery is how the provider sends its response: in one write, byte by byte, before the request has ended, and so on.
A path is the protocol on each side of Wirekey, and whether HTTP/1.1 upstream connections come from the pool.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
import traceback
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest

from tests.support.running import PATIENCE, SimulatorThread, Wirekey, wait_for
from tests.support.stream_formats import HOSTS, PLACEHOLDER, headers_for, trust
from tests.threats.conftest import beginning
from wirekey_simulator.exchange import Seen

OTHER_HOSTS = {"vertex": "europe-west4-aiplatform.googleapis.com", "azure": "corp.openai.azure.com"}
"""The hosts of providers that only the configuration knows."""
AGENTS = ("alice", *(f"agent-{number}" for number in range(1, 8)))
"""Agents that make calls at the same time."""
NO_PADDING = b""
PADDING = b" " * (320 << 10)
"""Appended to the JSON of a request: more than a server reads at once, so that an early response comes early."""

DELIVERIES = {
    "one write": "at-once",
    "head, then body": "",
    "byte by byte": "bytewise",
    "chunks with pauses": "pauses",
    "Connection: close": "close",
    "1xx first": "hints",
    "early": "early",
    "early and close": "early, close",
    "GOAWAY": "goaway",
}
"""Names of deliveries, with the directives that the simulator reads from the header `x-simulator`."""


@dataclass(frozen=True)
class ProtocolPath:
    """The protocols between client, Wirekey and provider. `pooled`: clients share HTTP/1.1 upstream connections.

    `gateway`: the client calls the gateway, over TLS if it speaks HTTP/2. Otherwise it opens a tunnel.
    """

    client: str
    upstream: str
    pooled: bool
    gateway: bool = False

    @property
    def name(self) -> str:
        client = f"gateway {self.client}" if self.gateway else self.client
        return f"{client} to {'pooled ' if self.pooled else ''}{self.upstream}"


PATHS = (
    ProtocolPath("h1", "h1", pooled=True),
    ProtocolPath("h2", "h1", pooled=False),
    ProtocolPath("h1", "h1", pooled=True, gateway=True),
    ProtocolPath("h2", "h2", pooled=True),
    ProtocolPath("h1", "h1", pooled=False),
    ProtocolPath("h2", "h2", pooled=True, gateway=True),
)
"""Of each path and the third one after it, one has an HTTP/1.1 client and one an HTTP/2 client."""
OVER_HTTP2 = PATHS[3]


def name_parameter(value: object) -> str:
    """Return how a parameter is named in a test's id."""
    return value.name if isinstance(value, ProtocolPath) else str(value)


def each_delivery(*offsets: int) -> pytest.MarkDecorator:
    """Run a test once for each delivery and offset. An offset shifts which path a delivery is combined with.

    Tables use different offsets, so that together they cover all combinations.
    """
    combinations = [
        (delivery, PATHS[(index + offset) % len(PATHS)])
        for index, delivery in enumerate(DELIVERIES)
        for offset in offsets
    ]
    return pytest.mark.parametrize(("delivery", "path"), combinations, ids=name_parameter, indirect=["path"])


each_delivery_on_each_path = pytest.mark.parametrize(
    ("delivery", "path"), list(itertools.product(DELIVERIES, PATHS)), ids=name_parameter, indirect=["path"]
)


class Deployment:
    """A simulator, and a Wirekey that forwards to it, with a token for each agent: of `AGENTS`, if not given."""

    def __init__(self, simulator: SimulatorThread, proxy: Wirekey, tokens: dict[str, str] | None = None) -> None:
        self.simulator, self.proxy = simulator, proxy
        self.tokens = tokens or {agent: proxy.add_agent(agent) for agent in AGENTS}
        self.contexts = {protocol: trust(proxy.root, protocol == "h2") for protocol in ("h1", "h2")}

    @contextlib.contextmanager
    def client(self, path: ProtocolPath, agent: str = "alice") -> Iterator[httpx.Client]:
        """Yield a client with connections of its own. Without the pool, its first call opens an upstream connection."""
        http2 = path.client == "h2"
        with httpx.Client(
            verify=self.contexts[path.client],
            proxy=None if path.gateway else self.proxy.proxy_url(agent, self.tokens[agent]),
            http1=not http2,
            http2=http2,
            timeout=PATIENCE,
            trust_env=False,
        ) as client:
            yield client

    def address(self, path: ProtocolPath, provider: str, agent: str = "alice") -> tuple[str, str]:
        """Return where the paths of a provider begin, and what a client sends as its key."""
        if not path.gateway:
            return f"https://{(HOSTS | OTHER_HOSTS)[provider]}", PLACEHOLDER
        scheme = "https" if path.client == "h2" else "http"
        return f"{scheme}://{self.proxy.running.gateway}/api/v1/{provider}", self.tokens[agent]

    def events_of(self, agent: str, since: str, count: int) -> list[dict] | None:
        """Return the events of an agent's calls after the call id `since`, or None if fewer than `count` have ended.

        Ids of the same millisecond sort by chance, so those of that of `since` count, too.
        """
        with contextlib.closing(sqlite3.connect(self.proxy.state / "audit.db")) as database:
            database.row_factory = sqlite3.Row
            rows = database.execute(
                "SELECT * FROM calls WHERE agent_id = ? AND id > ? AND outcome IS NOT NULL ORDER BY id",
                [agent, since[:13]],
            ).fetchall()
        return [dict(row) for row in rows] if len(rows) >= count else None

    def events(self, requested_models: Collection[str]) -> dict[str, dict]:
        """Return the audit events of calls by requested model, once all have ended."""
        return wait_for(lambda: self._events(requested_models), "the audit events of all calls")

    def _events(self, requested_models: Collection[str]) -> dict[str, dict] | None:
        placeholders = ", ".join("?" * len(requested_models))
        with contextlib.closing(sqlite3.connect(self.proxy.state / "audit.db")) as database:
            database.row_factory = sqlite3.Row
            rows = database.execute(
                f"SELECT * FROM calls WHERE outcome IS NOT NULL AND requested_model IN ({placeholders})",
                [*requested_models],
            ).fetchall()
        return {row["requested_model"]: dict(row) for row in rows} if len(rows) >= len(requested_models) else None


class RowAgent:
    """The agent that makes the calls of one row of a table: its client, its requests and its audit events."""

    def __init__(self, deployment: Deployment, path: ProtocolPath, delivery: str, agent: str, client: httpx.Client):
        self.deployment, self.path, self.delivery = deployment, path, delivery
        self.agent, self.client = agent, client
        self.started = beginning()

    def request(self, provider: str, method: str, url_path: str, directives: str = "", **content) -> dict:
        """Return the arguments for httpx of a request. `directives`: for the simulator, in addition to the delivery."""
        address, key = self.deployment.address(self.path, provider, self.agent)
        headers = headers_for(provider, url_path, key) | {"accept-encoding": "gzip, br", "x-row": self.started}
        if all_directives := ", ".join(filter(None, (DELIVERIES[self.delivery], directives))):
            headers["x-simulator"] = all_directives
        if "json" in content:
            body = json.dumps(content.pop("json")).encode()
            content["content"] = body + (PADDING if "early" in self.delivery else NO_PADDING)
            headers["content-type"] = "application/json"
        return {"method": method, "url": address + url_path, "headers": headers, **content}

    def arrived(self) -> list[Seen]:
        """Return the row's requests that reached the provider."""
        mark = (b"x-row", self.started.encode())
        return [seen for seen in self.deployment.simulator.seen if mark in seen.headers]

    def events(self, count: int) -> list[dict]:
        """Return the audit events of the row's calls, once `count` calls have ended."""
        return wait_for(lambda: self.deployment.events_of(self.agent, self.started, count), f"events of {self.agent}")


@contextlib.contextmanager
def row_agents(deployment: Deployment, path: ProtocolPath, delivery: str, number: int = 0) -> Iterator[Callable]:
    """Yield a function that returns the `RowAgent` of the next row. All of them use the connections of one client.

    So the first row needs new connections, and later ones reuse them as far as the delivery allows. `number`: which of
    `AGENTS` it is, as no two can make calls at the same time.
    """
    agent = AGENTS[number]
    with deployment.client(path, agent) as client:
        yield lambda: RowAgent(deployment, path, delivery, agent, client)


def failed_rows(deployment: Deployment, path: ProtocolPath, delivery: str, rows: dict, check: Callable) -> list[str]:
    """Run `check` with a `RowAgent` for each row, several at a time. Returns the errors of the rows that failed."""
    waiting, failed = iter(rows.items()), []

    def run(number: int) -> None:
        with row_agents(deployment, path, delivery, number) as next_agent:
            for name, row in waiting:
                try:
                    check(next_agent(), row)
                except Exception:
                    failed.append(f"{name}: {traceback.format_exc()}")

    with ThreadPoolExecutor(len(AGENTS)) as pool:
        list(pool.map(run, range(len(AGENTS))))
    return failed
