"""The implementations of the shared state in the core. Each test of this folder runs with each of them."""

from __future__ import annotations

import pytest

from wirekey.core.shared_state import MemoryState
from wirekey.core.shared_state.sqlite import SqliteState


@pytest.fixture(params=["memory", "sqlite"])
async def state(request, tmp_path):
    """The state of one process."""
    state = MemoryState() if request.param == "memory" else SqliteState(tmp_path / "shared.db")
    await state.start()
    yield state
    await state.close()


@pytest.fixture
async def pair(tmp_path):
    """The states of two processes."""
    states = SqliteState(tmp_path / "shared.db"), SqliteState(tmp_path / "shared.db")
    for state in states:
        await state.start()
    yield states
    for state in states:
        await state.close()
