"""Decisions wait for a machine that is busy, and no longer than the limit."""

import asyncio
import os
import signal

import pytest

from tests.support.policies import WHOLE, write
from wirekey.core.policy.engine import EmbeddedEngine

LOOP = "package p.authz\ndeny contains tool if some tool in input.tools\n"


@pytest.fixture
def engine_of(tmp_path):
    made = []

    def make(**limits):
        made.append(EmbeddedEngine(write(tmp_path / "policies", a=LOOP), "data.p.authz", **limits))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


def workers(engine):
    return [worker._process.pid for worker in engine._loaded._workers]


async def test_a_decision_waits_for_a_worker_that_is_paused(engine_of):
    engine = engine_of(timeout=0.2)
    assert engine._loaded.in_process is None
    (worker,) = workers(engine)
    os.kill(worker, signal.SIGSTOP)
    asked = asyncio.create_task(engine.decide(WHOLE | {"tools": ["shell"]}))
    await asyncio.sleep(0.6)  # three times as long as a decision may take of the processor
    assert not asked.done()
    os.kill(worker, signal.SIGCONT)
    decision = await asked
    assert (decision.reasons, decision.failure) == (("shell",), None)
    assert workers(engine) == [worker]


async def test_a_worker_that_hangs_ends_at_the_wall_time_limit(engine_of):
    engine = engine_of(timeout=0.2, wall_timeout=0.5)
    (worker,) = workers(engine)
    os.kill(worker, signal.SIGSTOP)
    decision = await engine.decide(WHOLE)
    assert not decision.allow
    assert "longer than 0.5 s of elapsed time" in decision.failure
