"""What the guard of an addon's hooks leaves behind."""

from types import SimpleNamespace

import pytest

from wirekey.core.addons.base import guard
from wirekey.core.errors import Refusal


@pytest.mark.parametrize("waits", [False, True])
async def test_a_constant_refusal_keeps_no_frames_however_often_it_is_raised(waits):
    refusal = Refusal(401, "no_agent", "There is no agent.")

    def raise_at_once(addon, data):
        raise refusal

    async def raise_later(addon, data):
        raise refusal

    hook = guard("response", raise_later if waits else raise_at_once)
    for _ in range(3):
        waiting = hook(SimpleNamespace(log_failure=lambda *_: None), None)
        if waiting is not None:
            await waiting
        assert refusal.__traceback__ is None
