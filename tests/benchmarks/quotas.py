"""What quotas cost: python -m tests.benchmarks.quotas [--rounds N]

CPU time of one call in one process, in microseconds: which quotas apply, reserve, and settle. The best of the rounds.
"""

from __future__ import annotations

import argparse
import sys
import time
from types import SimpleNamespace

from tests.features.quotas.making import GIVEN
from wirekey.core.shared_state import MemoryState
from wirekey.feature import NO_VALUES, FeatureData
from wirekey.features.quotas.addon import Quotas
from wirekey.features.quotas.definition import Quota
from wirekey.features.quotas.enforcement import QuotaEnforcer
from wirekey.features.quotas.estimate import Use
from wirekey.features.quotas.hold import Hold
from wirekey.features.quotas.usage_limits import QuotaLimits

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
    """Return the microseconds of a call when no quota is configured."""
    state = SimpleNamespace(call=SimpleNamespace(reads_body=True), features=FeatureData())
    flow = SimpleNamespace(id="1")
    calls = SimpleNamespace(states={flow.id: state}, state=lambda _: state, local_requests={})
    services = SimpleNamespace(settings=SimpleNamespace(features=NO_VALUES), calls=calls, shared_state=MemoryState())
    limits = services.usage_limits = QuotaLimits(services)
    addon = Quotas(services)
    handlers = [getattr(Quotas, name).__wrapped__ for name in ("requestheaders", "request")]
    began = time.process_time()
    for _ in range(CALLS):
        limits.note_limits(state, {})
        for handler in handlers:
            handler(addon, flow)
        limits.note_sent(state)
        limits.response_headers(state, {})
        limits.settle(state)
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
