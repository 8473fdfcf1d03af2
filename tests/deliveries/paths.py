"""How a response may come, and by which connections: what every table of calls is played over.

A delivery is how the provider sends. A path is which protocols are spoken on either side, and whether the upstream
connection is this client's own or one that was used by others before.
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
ONLY_BYTES = b""
PADDING = b" " * (1 << 20)
"""Behind the JSON of a request: a body that takes its time, and that can be answered before its end."""

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


@dataclass(frozen=True)
class PathOfCalls:
    """`pooled`: HTTP/1.1 upstream connections are lent from client to client."""

    client: str
    upstream: str
    pooled: bool

    @property
    def name(self) -> str:
        return f"{self.client} to {'pooled ' if self.pooled else ''}{self.upstream}"


PATHS = (
    PathOfCalls("h1", "h1", pooled=True),
    PathOfCalls("h1", "h1", pooled=False),
    PathOfCalls("h2", "h1", pooled=False),
    PathOfCalls("h2", "h2", pooled=True),
)


def pairs() -> list[tuple[str, PathOfCalls]]:
    """Give a cover: each delivery on two paths, so that each path has each second delivery, over both protocols."""
    return [
        (delivery, path)
        for place, delivery in enumerate(DELIVERIES)
        for number, path in enumerate(PATHS)
        if number % 2 == place % 2
    ]


def names(value: object) -> str:
    return value.name if isinstance(value, PathOfCalls) else str(value)


class Stage:
    """A simulator that speaks some protocols, and a Wirekey before it."""

    def __init__(self, simulator: SimulatorThread, proxy: Wirekey) -> None:
        self.simulator, self.proxy = simulator, proxy
        self.tokens = {agent: proxy.add_agent(agent) for agent in AGENTS}
        self.contexts = {protocol: trust(proxy.root, protocol == "h2") for protocol in ("h1", "h2")}

    @contextlib.contextmanager
    def client(self, protocol: str, agent: str = "alice") -> Iterator[httpx.Client]:
        """Give a client with connections of its own; the first call goes out on a new one, where none is lent."""
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
        """Give the events of an agent's calls after the call id `since`, once that many have ended."""
        with contextlib.closing(sqlite3.connect(self.proxy.state / "audit.db")) as database:
            database.row_factory = sqlite3.Row
            rows = database.execute(
                "SELECT * FROM calls WHERE agent_id = ? AND id > ? AND outcome IS NOT NULL ORDER BY id", [agent, since]
            ).fetchall()
        return [dict(row) for row in rows] if len(rows) >= count else None

    def events(self, asked_models: Collection[str]) -> dict[str, dict]:
        """Give the audit events of calls by the models that were asked for, once all have ended."""
        return wait_for(lambda: self._events(asked_models), "the audit events of all calls")

    def _events(self, asked_models: Collection[str]) -> dict[str, dict] | None:
        places = ", ".join("?" * len(asked_models))
        with contextlib.closing(sqlite3.connect(self.proxy.state / "audit.db")) as database:
            database.row_factory = sqlite3.Row
            rows = database.execute(
                f"SELECT * FROM calls WHERE outcome IS NOT NULL AND requested_model IN ({places})", [*asked_models]
            ).fetchall()
        return {row["requested_model"]: dict(row) for row in rows} if len(rows) >= len(asked_models) else None


def sent(provider: str, path: str, delivery: str, body: bytes, *more: str) -> dict:
    """Give what httpx is asked to send: a call of this provider whose response comes by this delivery."""
    words = ", ".join(filter(None, (DELIVERIES[delivery], *more)))
    headers = headers_for(provider, path, PLACEHOLDER) | {"content-type": "application/json"}
    if words:
        headers["x-simulator"] = words
    padded = body + PADDING if "early" in delivery else body
    return {"url": f"https://{HOSTS[provider]}{path}", "headers": headers, "content": padded}
