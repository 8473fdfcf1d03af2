"""A clock that jumps: tokens that had ended must not be valid again because it was set back."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.redteam.ground import Ground
from tests.redteam.technique import Technique
from wirekey.core.identity.agents import AgentStore
from wirekey.core.identity.stored_runs import NewRun, StoredRuns

HOUR, DAY, YEAR = 3600.0, 86_400.0, 31_536_000.0
START = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


def jumped(tried: str, use: Callable[[AgentStore, Clock], str], *jumps: float) -> Technique:
    """Make a token with `use`, let the clock jump, and say whether the token is still valid."""

    def attack(_: Ground) -> str:
        with tempfile.TemporaryDirectory() as folder:
            clock = Clock()
            store = AgentStore(Path(folder) / "agents.json", clock)
            store.add("dave")
            token = use(store, clock)
            for jump in jumps:
                clock.now += jump
                store.refresh()
                found = store.find(token)
            return "200 the token is valid" if found else "401 the token is not valid"

    moves = ", ".join(f"{jump / HOUR:+g} h" for jump in jumps)
    return Technique("clock", f"{tried}: {moves}", attack, refused=True)


def expiring(store: AgentStore, _: Clock) -> str:
    return store.issue_token("dave", "short", HOUR)


def revoked(store: AgentStore, _: Clock) -> str:
    token = store.issue_token("dave", "long", YEAR)
    store.revoke("dave")
    return token


def dropped(store: AgentStore, _: Clock) -> str:
    token = store.issue_token("dave", "long", YEAR)
    store.drop_token("dave", token)
    return token


def ended(store: AgentStore, _: Clock) -> str:
    runs = StoredRuns(store)
    token = runs.start("dave", NewRun("one"), lifetime=YEAR)
    runs.end("one")
    return token


def rotated(store: AgentStore, _: Clock) -> str:
    token = store.issue_token("dave", "long", YEAR)
    store.rotate("dave")
    return token


USES = {"a revoked agent": revoked, "a dropped token": dropped, "an ended run": ended, "a rotated token": rotated}
TECHNIQUES = [
    *(jumped("a token of an hour", expiring, *jumps) for jumps in ((HOUR + 1,), (DAY,), (10 * YEAR,))),
    *(
        jumped(name, use, *jumps)
        for name, use in USES.items()
        for jumps in ((-DAY,), (-YEAR,), (DAY, -DAY), (10 * YEAR, -YEAR))
    ),
]
