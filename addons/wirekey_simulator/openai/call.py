"""What a function of the table in `__init__` is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wirekey_simulator.behaviour import Behaviour
    from wirekey_simulator.exchange import SimulatedRequest
    from wirekey_simulator.state import State


@dataclass(frozen=True, slots=True)
class OpenAICall:
    """One call: the request, how to answer, and where things are stored."""

    request: SimulatedRequest
    behaviour: Behaviour
    state: State
    key: str = ""
    """The part of the path that stands where the table has `{}`, as it came."""
