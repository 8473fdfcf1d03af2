"""Play rounds, and print the seed of each and what it violated."""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from pathlib import Path

from tests.features.quotas.history.fleet import Fleet
from tests.features.quotas.history.rounds import Result, Round, plan_of


async def play(folder: Path, rounds: int, seed: int) -> list[Result]:
    """Play rounds with the seeds from `seed`, one after another in the same fleet."""
    fleet = Fleet()
    results = []
    try:
        await fleet.start(folder)
        for number in range(rounds):
            results.append(await Round(fleet, plan_of(seed + number)).run())
            print(results[-1], flush=True)
    finally:
        await fleet.stop()
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 10**6))
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="wirekey-history-") as folder:
        results = asyncio.run(play(Path(folder), arguments.rounds, arguments.seed))
    failed = [result.plan.seed for result in results if result.violations]
    print(f"{len(results)} rounds in {time.monotonic() - began:.0f} s; {len(failed)} with violations: {failed}")
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
