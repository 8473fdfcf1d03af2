"""One decision of the default policy, in microseconds: .venv/bin/python -m tests.benchmarks.policy

From a call to a decision: build the input, encode it, evaluate the policy, read the document. `in process` is on the
event loop, as for the default policy. `worker` is in another process, as for policies with loops. `cached` is a
decision that was made before; the others are evaluated each time.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time

from tests.docs.pages import CHECKOUT
from tests.support.recorded_calls import call_of
from wirekey.core.call import Agent
from wirekey.core.operation import Facts
from wirekey.core.policy import loaded_policy
from wirekey.core.policy.engine import EmbeddedEngine
from wirekey.core.policy.input import build_input

ROUNDS = 5000
HEADERS = {"user-agent": "OpenAI/Python 2.0.0", "content-type": "application/json", "accept": "application/json"}
FACTS = Facts("gpt-4o", True, 12, True, True, 4, 1000, ("search", "read", "write", "shell"))


async def measure(engine: EmbeddedEngine) -> list[float]:
    call = call_of(facts=FACTS)
    call.agent = Agent("alice", "developer", "cli", ("web:read", "web:write"))
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        decision = await engine.decide(build_input(call, HEADERS))
        taken.append((time.perf_counter() - began) * 1e6)
        assert decision.allow
    return sorted(taken)


async def main() -> None:
    loaded_policy.MAX_IN_PROCESS_SECONDS = 1.0  # another program's load must not move the policy to a worker
    engine = EmbeddedEngine(CHECKOUT / "policies", "data.wirekey.authz", 60.0)
    for name in ("cached", "in process", "worker"):
        if name == "in process":
            engine._loaded.cache = None
        taken = await measure(engine)
        assert (engine._loaded.in_process is None) is (name == "worker")
        p99 = taken[ROUNDS * 99 // 100]
        sys.stdout.write(f"{name:10} median {statistics.median(taken):6.1f} µs   99th percentile {p99:7.1f} µs\n")
        if name == "in process":
            engine._loaded.in_process = None
    engine.close()


if __name__ == "__main__":
    asyncio.run(main())
