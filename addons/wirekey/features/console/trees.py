"""The calls of runs and sessions as trees: a run has sessions, and a session has sub-agents.

Sub-agents name themselves and their parents in headers, so their places in a tree are claims of the client.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wirekey.core.audit.filters import first_id_at
from wirekey.core.audit.reading import shown_text
from wirekey.core.audit.sums import known_sum
from wirekey.core.labels import UNVERIFIED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from wirekey.core.audit.audit_log import AuditReader
    from wirekey.core.audit.filters import Dialect

LOOKED_THROUGH = 20_000
"""The number of latest calls in which sessions without a run are found."""
MOST_SESSIONS = 40
MOST_CALLS = 20_000
"""The number of latest calls of each tree that are summed up."""
MOST_ROWS = 2000
"""Combinations of session, sub-agent and model, of all trees."""
MOST_MODELS = 5
DEEPEST = 8
"""Levels of sub-agents. Those below are shown at the first level, as are those whose parents form a circle."""
NAMED = ("session", "sub_agent", "parent_agent")
"""The labels of which trees are made."""

ENDED_BADLY = "outcome NOT IN ('completed', 'denied', 'declined')"
SUMS = (
    "sum(CASE WHEN outcome = 'declined' THEN 0 ELSE 1 END), sum(CASE WHEN outcome = 'denied' THEN 1 ELSE 0 END), "
    f"sum(CASE WHEN {ENDED_BADLY} THEN 1 ELSE 0 END), sum(CASE WHEN outcome IS NULL THEN 1 ELSE 0 END), "
    "CAST(sum(input_tokens) AS bigint), CAST(sum(output_tokens) AS bigint), sum(cost_usd), min(id), max(id)"
)
"""Calls, refused, failed, in progress, tokens, cost, the first and the last call."""


@dataclass(frozen=True, slots=True)
class Root:
    """The run or session at the root of a tree. `label`: the name of its label. `since`: when the run started."""

    label: str
    value: str
    agent: str | None
    since: datetime | None = None


@dataclass(slots=True)
class NodeSums:
    """The use of some calls. Tokens and cost: None if none is known."""

    calls: int = 0
    refused: int = 0
    failed: int = 0
    in_progress: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    first: str | None = None
    """The id of the first call."""
    last: str | None = None
    models: Counter[str] = field(default_factory=Counter)

    def add(self, other: NodeSums) -> None:
        """Add the calls of others."""
        self.calls += other.calls
        self.refused += other.refused
        self.failed += other.failed
        self.in_progress += other.in_progress
        self.input_tokens = known_sum(self.input_tokens, other.input_tokens)
        self.output_tokens = known_sum(self.output_tokens, other.output_tokens)
        self.cost_usd = known_sum(self.cost_usd, other.cost_usd)
        self.first = min(filter(None, (self.first, other.first)), default=None)
        self.last = max(filter(None, (self.last, other.last)), default=None)
        self.models.update(other.models)

    def plain(self) -> dict[str, Any]:
        """Return them in the form that the page draws."""
        return {
            "calls": self.calls,
            "refused": self.refused,
            "failed": self.failed,
            "in_progress": self.in_progress,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_usd": self.cost_usd,
            "first": moment_of(self.first),
            "last": moment_of(self.last),
            "models": [name for name, _ in self.models.most_common(MOST_MODELS)],
            "more_models": max(0, len(self.models) - MOST_MODELS),
        }


@dataclass(slots=True, eq=False)
class Node:
    """A run, a session or a sub-agent. `value`: of its label, marked if the client wrote it. `own`: its own calls."""

    label: str
    value: str
    own: NodeSums = field(default_factory=NodeSums)
    sessions: dict[str, Node] = field(default_factory=dict)
    sub_agents: dict[str, Node] = field(default_factory=dict)
    parent: str | None = None
    """The sub-agent that has started it."""

    def plain(self) -> tuple[dict[str, Any], NodeSums]:
        """Return it with everything below it in the form that the page draws, and the sums of all that."""
        sums, nodes = NodeSums(), []
        sums.add(self.own)
        for node in (*self.sessions.values(), *self.sub_agents.values()):
            drawn, of_node = node.plain()
            nodes.append(drawn)
            sums.add(of_node)
        return {"label": self.label, "value": self.value, **sums.plain(), "nodes": nodes}, sums


def trees_in(database: AuditReader, runs: Sequence[Mapping[str, Any]], roots: Sequence[Root]) -> list[dict[str, Any]]:
    """Return the trees of these runs, and of the latest sessions without a run, in the form that the page draws.

    `runs`: what is shown of each run. `roots`: the same runs. Blocks.
    """
    database.execute("BEGIN")
    every = [*roots, *sessions_in(database)]
    if not every:
        return []
    nodes = [Node(root.label, shown_text(root.value) or "") for root in every]
    for row in rows_of(database, every):
        add_row(nodes[row[0]], row)
    trees = []
    for place, (root, node) in enumerate(zip(every, nodes, strict=True)):
        place_sub_agents(node)
        drawn, sums = node.plain()
        run = runs[place] if place < len(roots) else None
        trees.append(drawn | {"agent": shown_text(root.agent), "run": run, "is_cut": sums.calls >= MOST_CALLS})
    return trees


def sessions_in(database: AuditReader) -> Iterator[Root]:
    """Yield the sessions without a run among the latest calls, the latest first."""
    session = database.dialect.label("session")
    columns = "id, agent_id, labels, labels_unverified"
    found = database.execute(
        f"SELECT {session}, agent_id FROM (SELECT {columns} FROM calls ORDER BY id DESC LIMIT ?) AS latest"  # noqa: S608  # of our own names; values are bound
        f" WHERE {session} IS NOT NULL AND {without_run(database.dialect)} GROUP BY 1, 2 ORDER BY max(id) DESC LIMIT ?",
        [LOOKED_THROUGH, MOST_SESSIONS],
    )
    for value, agent in found.fetchall():
        yield Root("session", value, agent)


def without_run(dialect: Dialect) -> str:
    """Return SQL for whether a call is of no run. A label of the client does not count."""
    return f"coalesce({dialect.label('run')}, '{UNVERIFIED}') LIKE '%{UNVERIFIED}'"


def rows_of(database: AuditReader, roots: Sequence[Root]) -> Iterable[tuple[Any, ...]]:
    """Return the sums of the calls of each tree by session, sub-agent and model. The label of each root is indexed."""
    statements, values = [], []
    for place, root in enumerate(roots):
        statements.append(calls_of(place, root, database.dialect))
        values += [root.value, first_id_at(root.since.timestamp() if root.since else 0)]
        values += [] if root.label == "run" else [root.agent or ""]
    found = " UNION ALL ".join(statements)
    keys = f"tree, {', '.join(NAMED)}, model"
    return database.execute(
        f"SELECT {keys}, {SUMS} FROM ({found}) AS found GROUP BY {keys} ORDER BY max(id) DESC LIMIT {MOST_ROWS}",  # noqa: S608  # of our own names; values are bound
        values,
    ).fetchall()


def calls_of(place: int, root: Root, dialect: Dialect) -> str:
    """Return SQL for the latest calls of a tree, with the places of its value, its first id and its agent.

    A session of one agent never has calls of another, which could send the same id.
    """
    labels = ", ".join(f"{dialect.label(name)} AS {name}" for name in NAMED)
    columns = f"id, outcome, coalesce(model, requested_model) AS model, input_tokens, output_tokens, cost_usd, {labels}"
    own = "" if root.label == "run" else f" AND coalesce(agent_id, '') = ? AND {without_run(dialect)}"
    return (
        f"SELECT * FROM (SELECT {place} AS tree, {columns} FROM calls WHERE {dialect.label(root.label)} = ?"  # noqa: S608  # of our own names; values are bound
        f" AND id >= ?{own} ORDER BY id DESC LIMIT {MOST_CALLS}) AS tree{place}"
    )


def add_row(tree: Node, row: Sequence[Any]) -> None:
    """Add the sums of some calls of one session, sub-agent and model to a tree."""
    _, session, sub_agent, parent, model, *sums = row
    node = tree
    if session is not None and tree.label == "run":
        node = tree.sessions.setdefault(session, Node("session", shown_text(session) or ""))
    if sub_agent is not None:
        node = node.sub_agents.setdefault(sub_agent, Node("sub_agent", shown_text(sub_agent) or ""))
        node.parent = node.parent or parent
    name = shown_text(model)
    found = NodeSums(*sums)
    if name:
        found.models[name] = found.calls
    node.own.add(found)


def place_sub_agents(node: Node) -> None:
    """Place the sub-agents of a run and its sessions below the sub-agents that have started them."""
    for session in node.sessions.values():
        place_sub_agents(session)
    every = dict(node.sub_agents)
    for name, sub_agent in every.items():
        if parents := parents_of(sub_agent, every):
            parents[0].sub_agents[name] = node.sub_agents.pop(name)


def parents_of(sub_agent: Node, every: Mapping[str, Node]) -> list[Node]:
    """Return the known parents of a sub-agent, its own first. None if there are too many, or they form a circle."""
    parents: list[Node] = []
    while (above := every.get(sub_agent.parent or "")) is not None:
        parents.append(above)
        if len(parents) >= DEEPEST:
            return []
        sub_agent = above
    return parents


def moment_of(call_id: str | None) -> float | None:
    """Return the time in an id in Unix seconds, or None if Wirekey did not make the id."""
    try:
        return int(call_id[:8] + call_id[9:13], 16) / 1000 if call_id else None
    except ValueError:
        return None
