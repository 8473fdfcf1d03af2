"""The deliveries and paths that the tests of this package combine with tables of calls.

A delivery is how the provider sends its response: in one write, byte by byte, before the request has ended, and so on.
A path is the protocol on each side of Wirekey, and whether HTTP/1.1 upstream connections come from the pool.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import httpx

from tests.end_to_end.stream_formats import HOSTS, PLACEHOLDER, headers_for, trust
from tests.running import PATIENCE, SimulatorThread, Wirekey, wait_for

AGENTS = ("alice", *(f"row{number}" for number in range(120)))
NO_PADDING = b""
PADDING = b" " * (1 << 20)
"""Appended to the JSON of a request, so that it takes long enough to send for an early response."""

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
    """The protocols between client, Wirekey and provider. `pooled`: clients share HTTP/1.1 upstream connections."""

    client: str
    upstream: str
    pooled: bool

    @property
    def name(self) -> str:
        return f"{self.client} to {'pooled ' if self.pooled else ''}{self.upstream}"


PATHS = (
    ProtocolPath("h1", "h1", pooled=True),
    ProtocolPath("h1", "h1", pooled=False),
    ProtocolPath("h2", "h1", pooled=False),
    ProtocolPath("h2", "h2", pooled=True),
)


def deliveries_on_two_paths() -> list[tuple[str, ProtocolPath]]:
    """Return each delivery with two of the four paths: one with an HTTP/1.1 client, one with an HTTP/2 client."""
    return [
        (delivery, path)
        for delivery_index, delivery in enumerate(DELIVERIES)
        for path_index, path in enumerate(PATHS)
        if path_index % 2 == delivery_index % 2
    ]


def name_parameter(value: object) -> str:
    """Return how a parameter is named in a test's id."""
    return value.name if isinstance(value, ProtocolPath) else str(value)


class Deployment:
    """A simulator, and a Wirekey that forwards to it, with a token for each of `AGENTS`."""

    def __init__(self, simulator: SimulatorThread, proxy: Wirekey) -> None:
        self.simulator, self.proxy = simulator, proxy
        self.tokens = {agent: proxy.add_agent(agent) for agent in AGENTS}
        self.contexts = {protocol: trust(proxy.root, protocol == "h2") for protocol in ("h1", "h2")}

    @contextlib.contextmanager
    def client(self, protocol: str, agent: str = "alice") -> Iterator[httpx.Client]:
        """Yield a client with connections of its own. Without the pool, its first call opens an upstream connection."""
        http2 = protocol == "h2"
        with httpx.Client(
            verify=self.contexts[protocol],
            proxy=self.proxy.proxy_url(agent, self.tokens[agent]),
            http1=not http2,
            http2=http2,
            timeout=PATIENCE,
            trust_env=False,
        ) as client:
            yield client

    def events_of(self, agent: str, since: str, count: int) -> list[dict] | None:
        """Return the events of an agent's calls after the call id `since`, or None if fewer than `count` have ended."""
        with contextlib.closing(sqlite3.connect(self.proxy.state / "audit.db")) as database:
            database.row_factory = sqlite3.Row
            rows = database.execute(
                "SELECT * FROM calls WHERE agent_id = ? AND id > ? AND outcome IS NOT NULL ORDER BY id", [agent, since]
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


def request_arguments(provider: str, path: str, delivery: str, body: bytes) -> dict:
    """Return the arguments for httpx of a call whose response comes by this delivery."""
    headers = headers_for(provider, path, PLACEHOLDER) | {"content-type": "application/json"}
    if directives := DELIVERIES[delivery]:
        headers["x-simulator"] = directives
    padded = body + PADDING if "early" in delivery else body
    return {"url": f"https://{HOSTS[provider]}{path}", "headers": headers, "content": padded}
