"""THREATS R53: what Redis responds in another shape than the command has is no grant."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from wirekey.core.secret import Secret
from wirekey.core.shared_state import Budget, Rate, SharedStateUnavailableError
from wirekey.features.redis.breaker import FAILURES, SPREAD
from wirekey.features.redis.state import RedisState

LONG = 60.0
ODD = {
    "three ones": b"*3\r\n:1\r\n:1\r\n:1\r\n",
    "an empty list": b"*0\r\n",
    "a list in a list": b"*1\r\n*0\r\n",
    "a text": b"$5\r\nright\r\n",
    "another number": b":2\r\n",
    "a state that there is not": b"*3\r\n$4\r\nfine\r\n$1\r\n0\r\n$1\r\n0\r\n",
    "a level that is no number": b"*3\r\n$2\r\nok\r\n$3\r\nnan\r\n$1\r\n0\r\n",
    "allowed with a wait": b"*3\r\n:1\r\n$1\r\n5\r\n$1\r\n5\r\n",
    "refused without a wait": b"*3\r\n:0\r\n$1\r\n5\r\n$1\r\n0\r\n",
    "a time that is no number": b"*3\r\n:1\r\n$3\r\nnan\r\n$1\r\n0\r\n",
    "an endless time": b"*3\r\n:1\r\n$3\r\ninf\r\n$1\r\n0\r\n",
    "a negative time": b"*3\r\n:1\r\n$2\r\n-1\r\n$1\r\n0\r\n",
    "two levels for one": b"*6\r\n" + 2 * b"$2\r\nok\r\n$1\r\n0\r\n$1\r\n0\r\n",
    "an error": b"-ERR no\r\n",
}
BUDGETS = {
    "reserve": lambda state: state.reserve("call", [Budget("usd", 1, 100)], LONG),
    "open_total": lambda state: state.open_total("usd", 0, LONG),
    "levels": lambda state: state.levels(["usd"]),
    "renew": lambda state: state.renew("call", LONG),
    "settle": lambda state: state.settle("call", {"usd": 1}),
}
RATES = {
    "take": lambda state: state.take([Rate("calls", 1, 100)]),
    "charge": lambda state: state.charge([Rate("calls", 1, 100)]),
}
VALUES = {"totals": lambda state: state.totals(), "replace": lambda state: state.replace("key", b"one", b"two", LONG)}


class OddServer:
    """A server whose replies to what is not part of connecting are all the same. Set `reply` first."""

    def __init__(self) -> None:
        self.reply = b""

    async def start(self) -> str:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        return f"redis://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def serve(self, reader, writer) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                length = int((await reader.readuntil(b"\r\n"))[1:])
                words = []
                for _ in range(length):
                    size = int((await reader.readuntil(b"\r\n"))[1:])
                    words.append((await reader.readexactly(size + 2))[:-2])
                is_setup = words[0] in (b"PING", b"CLIENT", b"SCRIPT", b"SELECT")
                writer.write(b"+OK\r\n" if is_setup else self.reply)
        writer.close()


@pytest.fixture
async def odd():
    server = OddServer()
    state = RedisState(Secret(await server.start()), 5)
    yield server, state
    await state.close()
    server.server.close()


@pytest.mark.parametrize("shape", ODD)
@pytest.mark.parametrize("name", [*BUDGETS, *RATES, *VALUES])
async def test_R53_a_reply_of_another_shape_is_no_grant(odd, name, shape):
    server, state = odd
    server.reply = ODD[shape]
    asking = (BUDGETS | RATES | VALUES)[name]
    with pytest.raises(SharedStateUnavailableError, match="does not respond"):
        await asking(state)


async def test_R53_replies_of_another_shape_count_as_failures_of_the_server(odd):
    server, state = odd
    server.reply = ODD["three ones"]
    for _ in range(FAILURES + 1):
        with pytest.raises(SharedStateUnavailableError):
            await state.reserve("call", [Budget("usd", 1, 100)], LONG)
        await asyncio.sleep(SPREAD / 2)
    assert "a reply of another shape" in (state.trouble() or "")


@pytest.mark.parametrize("reply", [b"what\r\n", b"*x\r\n", b"$-7\r\n\r\n", b"*1\r\n" * 5000, b"+OK\r\n+OK\r\n"])
async def test_R53_bytes_that_are_no_reply_end_the_connection_and_are_no_grant(odd, reply):
    server, state = odd
    server.reply = reply
    with pytest.raises(SharedStateUnavailableError):
        await state.reserve("call", [Budget("usd", 1, 100)], LONG)
