"""The record of responses that the simulator sent, and Anthropic's usage and cost reports about them.

A key is named in reports by a digest, as the providers name it by an id.

https://docs.claude.com/en/api/usage-cost-api
"""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wirekey_simulator.exchange import BadRequest, Json, SimulatedRequest, SimulatedResponse, json_response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wirekey_simulator.state import State
    from wirekey_simulator.text import TokenCounts

SHELF = "reports"
DAY = 86400
DOLLARS_A_TOKEN = 1e-6
"""The simulator bills a dollar for a million tokens, of whatever kind and model."""
BUCKETS_OF_A_PAGE = 7


@dataclass(frozen=True, slots=True)
class Served:
    """One response. `time`: Unix seconds. `cached`: of `input`."""

    provider: str
    time: float
    model: str
    key: str
    input: int
    cached: int
    output: int
    kind: str = "completions"


def key_id(key: str) -> str:
    """Return the id of a key in reports."""
    return f"key_{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def record(
    provider: str,
    request: SimulatedRequest,
    model: str,
    counts: TokenCounts,
    state: State,
    *,
    kind: str = "completions",
) -> None:
    """Record a response for the reports."""
    key = request.header("x-api-key") or request.header("authorization").partition(" ")[2]
    served = Served(provider, time.time(), model, key_id(key), counts.input, counts.cached, counts.output, kind)
    state.store(SHELF, state.new_id(), served)


def anthropic_page(report: str, request: SimulatedRequest, state: State) -> SimulatedResponse:
    """Return a page of `usage_report/messages` or `cost_report`. Raises BadRequest."""
    query = parameters(request)
    if "starting_at" not in query:
        raise BadRequest("starting_at: Field required")
    until = query.get("ending_at", [f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"])[0]
    starts = days(*(int(datetime.fromisoformat(text).timestamp()) for text in (query["starting_at"][0], until)))
    groups = query.get("group_by", [])
    names: dict[str, Callable[[Served], str]] = {"model": lambda one: one.model, "api_key_id": lambda one: one.key}
    groups = ["model"] if "description" in groups else groups
    result = anthropic_cost if report == "cost_report" else anthropic_usage
    starts, following = page_of_days(starts, query)
    data = [
        {
            "starting_at": f"{datetime.fromtimestamp(start, UTC):%Y-%m-%dT%H:%M:%SZ}",
            "ending_at": f"{datetime.fromtimestamp(start + DAY, UTC):%Y-%m-%dT%H:%M:%SZ}",
            "results": [result(*one) for one in grouped("anthropic", start, groups, names, state)],
        }
        for start in starts
    ]
    return json_response({"data": data, "has_more": following is not None, "next_page": following})


def anthropic_usage(group: dict[str, str | None], of: list[Served]) -> Json:
    """Return a result of `usage_report/messages`."""
    return {
        "uncached_input_tokens": sum(one.input - one.cached for one in of),
        "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0},
        "cache_read_input_tokens": sum(one.cached for one in of),
        "output_tokens": sum(one.output for one in of),
        "workspace_id": None,
        **group,
    }


def anthropic_cost(group: dict[str, str | None], of: list[Served]) -> Json:
    """Return a result of `cost_report`. Its amount is in cents, as a text."""
    cents = sum(one.input + one.output for one in of) * DOLLARS_A_TOKEN * 100
    model = group["model"]
    return {"amount": f"{cents:.6f}", "currency": "USD", "description": model, "cost_type": "tokens", "model": model}


def grouped(
    provider: str,
    start: int,
    groups: Iterable[str],
    names: dict[str, Callable[[Served], str]],
    state: State,
    *,
    kind: str | None = None,
) -> list[tuple[dict[str, str | None], list[Served]]]:
    """Return what was served on a day, by the requested groups."""
    found: defaultdict[tuple[str | None, ...], list[Served]] = defaultdict(list)
    wanted = set(groups)
    for one in state.shelf(SHELF).values():
        if one.provider == provider and kind in (None, one.kind) and start <= one.time < start + DAY:
            found[tuple(of(one) if name in wanted else None for name, of in names.items())].append(one)
    return [(dict(zip(names, values, strict=True)), of) for values, of in found.items()]


def parameters(request: SimulatedRequest) -> dict[str, list[str]]:
    """Return the values of each query parameter. Lists may be written with or without brackets."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in request.query:
        found[name.removesuffix("[]")].append(value)
    return found


def page_of_days(starts: list[int], query: dict[str, list[str]]) -> tuple[list[int], str | None]:
    """Return the days of the page that a query names, and the name of the next page, or None if it is the last."""
    first = int(query.get("page", ["0"])[0])
    after = first + BUCKETS_OF_A_PAGE
    return starts[first:after], str(after) if len(starts) > after else None


def days(since: int, until: int) -> list[int]:
    """Return the beginnings of the days in UTC from `since` until before `until`."""
    return list(range(since - since % DAY, until, DAY))
