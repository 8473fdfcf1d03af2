"""Engines of the library are freed by the thread that made them, and decisions wait for a machine that is busy."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from tests.policy.policies import WHOLE, write
from wirekey.policy.engine import EmbeddedEngine

LOOP = "package p.authz\ndeny contains tool if some tool in input.tools\n"
FREEING = """
import gc, threading
from wirekey_rego import library
from wirekey.policy.modules import Modules
from wirekey_rego.policy import Rego

def policy():
    return Rego(Modules({"a.rego": "package p\\ndeny := true if input.x"}, {}, ""), "data.p")

def in_a_cycle():
    held = [policy()]
    held.append(held)
    try:
        held[0].evaluate(b"no JSON")
    except Exception as error:
        held.append(error)

gc.disable()
in_a_cycle()
gone = []
collecting = threading.Thread(target=lambda: gone.append(gc.collect()))
collecting.start()
collecting.join()
assert gone[0] > 0
assert len(library._ended) >= 1, library._ended
left = policy()
assert not library._ended & library._table.engines.keys()
in_a_thread = threading.Thread(target=lambda: gone.append(policy().evaluate(b"{}")))
in_a_thread.start()
in_a_thread.join()
assert gone[1] == b"{}"
lent = threading.Thread(target=lambda: gone.append(left))
lent.start()
lent.join()
"""


def test_an_engine_is_freed_by_its_own_thread():
    environment = os.environ | {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", FREEING], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")


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
    assert "policy.wall_timeout" in decision.failure
