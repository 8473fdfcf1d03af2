"""Generated requests and responses pass Wirekey without a change, in both ways."""

from __future__ import annotations

import os

import pytest

from tests.support.running import PROVIDER_KEYS
from tests.untouched.comparing import differences, keys_of
from tests.untouched.messages import Message
from tests.untouched.variants import request_of, response_of

VARIANTS = int(os.environ.get("WIREKEY_VARIANTS", "100"))
KEY = PROVIDER_KEYS["openai"].encode()


@pytest.mark.parametrize("way", ["forward", "gateway"])
def test_generated_messages_are_not_touched(replay, way, record_property):
    for seed in range(VARIANTS):
        request, response = request_of(seed), response_of(seed)
        lines = tuple(line.replace(b"placeholder", KEY) for line in request.lines)
        request = Message(request.start, lines, request.body, request.framed)
        arrived, back = replay.through(way, "openai", request, response)
        found = {"request": differences(request, arrived), "response": differences(response, back)}
        assert found == {"request": [], "response": []}, f"seed {seed}"
        assert len(keys_of(arrived)) == 1
    record_property("generated calls", VARIANTS)
