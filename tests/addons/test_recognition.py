"""A large body is checked in another process, and the event loop handles other events meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from wirekey.core.addons.recognition import Recognition
from wirekey.core.body import Spool
from wirekey.core.call import Call
from wirekey.core.calls.services import Services
from wirekey.core.errors import Refusal
from wirekey.core.json_size import PIECE


def spooled(folder, data: bytes):
    spool = Spool(folder)
    spool.write(data)
    return spool.finish()


async def turns_while(work) -> tuple[int, object]:
    """Return how often another task of the loop runs during `work`, and the result of `work`."""
    turns = 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    running = asyncio.create_task(other())
    await asyncio.sleep(0)
    began = turns
    try:
        result = await work
    except Refusal as refusal:
        result = refusal
    running.cancel()
    return turns - began, result


@pytest.fixture
async def recognition():
    made: list[Services] = []

    def make(limit: int = 500_000) -> Recognition:
        services = Services()
        services.settings = replace(services.settings, json_values=limit)
        made.append(services)
        return Recognition(services)

    yield make
    for services in made:
        services.body_reader.end()


async def test_other_events_are_handled_while_a_large_body_is_checked(tmp_path, recognition):
    body = spooled(tmp_path, b'{"x":"' + "é,".encode() * 10 * PIECE + b'"}')
    turns, _ = await turns_while(recognition(10**9).check_large(Call(), body))
    assert turns >= 10
    assert body.values == len(body) // 2 + 1


async def test_other_events_are_handled_while_the_values_of_a_body_are_counted(tmp_path, recognition):
    body = spooled(tmp_path, b'{"x":"' + b"x," * 10 * PIECE + b'"}')
    turns, _ = await turns_while(recognition(100).check_large(Call(), body))
    assert turns >= 10
    assert body.values == 2


async def test_a_large_body_with_too_many_values_is_refused(tmp_path, recognition):
    body = spooled(tmp_path, b'{"x":[' + b"{}," * 10 * PIECE + b"{}]}")
    with pytest.raises(Refusal) as refused:
        await recognition(100).check_large(Call(), body)
    assert (refused.value.status, refused.value.code) == (413, "too_many_values")


async def test_a_small_body_is_checked_at_once(recognition):
    turns, refusal = await turns_while(recognition(100).check_large(Call(), b"{}," * 1000))
    assert (turns, refusal.status) == (0, 413)
    turns, refusal = await turns_while(recognition().check_large(Call(), b"{}," * 1000))
    assert (turns, refusal) == (0, None)


async def test_two_large_bodies_are_checked_one_after_the_other(tmp_path, recognition):
    addon = recognition(100)
    bodies = [spooled(tmp_path, b'{"x":"' + b"x," * 5 * PIECE + b'"}') for _ in range(2)]
    first = asyncio.create_task(addon.check_large(Call(), bodies[0]))
    second = asyncio.create_task(addon.check_large(Call(), bodies[1]))
    await first
    assert bodies[0].values
    assert not second.done()
    await second


async def test_a_body_that_is_not_utf8_is_refused(tmp_path, recognition):
    body = spooled(tmp_path, b'{"x":"' + b"x" * PIECE + b'\xff"}')
    with pytest.raises(Refusal) as refused:
        await recognition().check_large(Call(), body)
    assert "UTF-8" in refused.value.message
