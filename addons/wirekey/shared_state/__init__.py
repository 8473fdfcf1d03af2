"""The state that several processes share: cool-downs, used signatures, rate limits, budgets and revocations.

`SharedState` is the interface. `MemoryState` serves one process, `SqliteState` the workers of one machine, and
`RedisState` several machines.
"""

from wirekey.shared_state.memory import MemoryState
from wirekey.shared_state.protocol import (
    Budget,
    BudgetLevel,
    BudgetLosses,
    BudgetsLostError,
    KnownBudgets,
    Rate,
    RateLevel,
    Reserved,
    SeenTotal,
    SharedState,
    SharedStateUnavailableError,
    Taken,
)

__all__ = [
    "Budget",
    "BudgetLevel",
    "BudgetLosses",
    "BudgetsLostError",
    "KnownBudgets",
    "MemoryState",
    "Rate",
    "RateLevel",
    "Reserved",
    "SeenTotal",
    "SharedState",
    "SharedStateUnavailableError",
    "Taken",
]
