"""The implementations of the shared state. Each test of this folder runs with each of them."""

from __future__ import annotations

import pytest

from wirekey.shared_state import MemoryState


@pytest.fixture(params=["memory"])
async def state(request):
    state = MemoryState()
    await state.start()
    yield state
    await state.close()
