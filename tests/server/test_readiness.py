"""The shared state is checked without a call, and no failure of it ends the checks or makes the process not ready."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from wirekey.core.shared_state import SharedStateUnavailableError
from wirekey.server import readiness as readiness_module
from wirekey.server.readiness import Readiness


class SharedState:
    """Raises `error`, if there is one, and counts what it is asked."""

    is_remote = True

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked = 0

    async def get(self, _: str) -> None:
        self.asked += 1
        if self.error:
            raise self.error


@pytest.fixture
async def checked(monkeypatch):
    """A shared state, and what is reported of it."""
    monkeypatch.setattr(readiness_module, "SHARED_CHECK_INTERVAL", 0.001)
    state = SharedState()

    async def decides() -> None:
        return None

    config = SimpleNamespace(effective_policy=SimpleNamespace(opa_url=None))
    services = SimpleNamespace(
        shared_state=state,
        store=SimpleNamespace(is_database=False, also_needs=None),
        policy=SimpleNamespace(unavailable_reason=decides),
    )
    lifecycle = SimpleNamespace(started_with=config, config=config, agents_follower=None, lock=object())
    readiness = Readiness(services, lifecycle)
    readiness.begin()
    yield state, readiness, lifecycle
    await readiness.end()


async def until(condition) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("error", [SharedStateUnavailableError("away"), RuntimeError("closed"), OSError()])
async def test_a_shared_state_that_fails_in_any_way_is_reported_until_it_responds(checked, error):
    state, readiness, _ = checked
    await until(lambda: state.asked)
    assert readiness.dependencies() == {"shared_state": None}
    state.error = error
    await until(lambda: readiness.dependencies()["shared_state"] == "the shared state does not respond")
    state.error = None
    await until(lambda: readiness.dependencies()["shared_state"] is None)


async def test_it_is_not_asked_any_more_once_the_process_closes_it(checked):
    state, _, lifecycle = checked
    await until(lambda: state.asked)
    lifecycle.lock = None
    await asyncio.sleep(0.01)
    asked = state.asked
    await asyncio.sleep(0.02)
    assert state.asked == asked
