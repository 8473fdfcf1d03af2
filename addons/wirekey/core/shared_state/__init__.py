"""The state that several processes share: cool-downs, used signatures, rate limits, budgets and revocations.

`SharedState` is the interface. `MemoryState` serves one process, and `SqliteState` the workers of one machine. A
feature can add a `RemoteState` for several machines.
"""

from wirekey.core.shared_state.memory import MemoryState
from wirekey.core.shared_state.protocol import (
    Budget,
    BudgetLevel,
    BudgetLosses,
    BudgetsLostError,
    KnownBudgets,
    Rate,
    RateLevel,
    RemoteState,
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
    "RemoteState",
    "Reserved",
    "SeenTotal",
    "SharedState",
    "SharedStateUnavailableError",
    "Taken",
]
