"""What quotas cost: python -m tests.benchmarks.quotas [--rounds N]

CPU time of one call in one process, in microseconds: which quotas apply, reserve, and settle. The best of the rounds.
"""

from __future__ import annotations

import argparse
import sys
import time
from types import SimpleNamespace

from tests.quotas.making import GIVEN
from wirekey.addons.quotas import Quotas
from wirekey.quotas.definition import Quota
from wirekey.quotas.enforcement import QuotaEnforcer
from wirekey.quotas.estimate import Use
from wirekey.quotas.hold import Hold
from wirekey.shared_state import MemoryState

CALLS = 5000
LARGE = 10**12
RATES = Quota("rates", "agent", requests_per_minute=LARGE, tokens_per_minute=LARGE, concurrent=LARGE)
BUDGETS = Quota("budgets", "agent", usd_per_day=LARGE, usd_per_month=LARGE)
ROWS = {
    "requests a minute": (Quota("requests", "agent", requests_per_minute=LARGE),),
    "dollars a day": (Quota("dollars", "agent", usd_per_day=LARGE),),
    "all limits": (RATES, BUDGETS),
}


def without_quotas() -> float:
    """Return the microseconds of the addon for a call when no quota is configured."""
    call = SimpleNamespace(reads_body=True)
    services = SimpleNamespace(
        settings=SimpleNamespace(quotas=()), calls=SimpleNamespace(of=lambda _: call, local_requests={})
    )
    addon = Quotas(services)
    handlers = [getattr(Quotas, name).__wrapped__ for name in ("requestheaders", "request")]
    began = time.process_time()
    for _ in range(CALLS):
        for handler in handlers:
            handler(addon, None)
    return (time.process_time() - began) / CALLS * 1e6


def with_quotas(quotas: tuple[Quota, ...]) -> float:
    """Return the microseconds of a call to which these quotas apply."""
    state = MemoryState()
    service = QuotaEnforcer(lambda: state)
    began = time.process_time()
    for number in range(CALLS):
        hold = Hold(f"{number}/1", service.applied(quotas, GIVEN), "gpt-5-mini", Use(100, 1000))
        service.acquire(hold)
        service.settle(hold, Use(50, 500))
    return (time.process_time() - began) / CALLS * 1e6


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    rounds = arguments.parse_args().rounds
    sys.stdout.write(f"without quotas     {min(without_quotas() for _ in range(rounds)):6.2f}\n")
    for name, quotas in ROWS.items():
        sys.stdout.write(f"{name:18} {min(with_quotas(quotas) for _ in range(rounds)):6.2f}\n")


if __name__ == "__main__":
    main()
