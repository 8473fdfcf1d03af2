"""The argument of the functions in the table of `openai`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wirekey_simulator.behaviour import Behaviour
    from wirekey_simulator.exchange import SimulatedRequest
    from wirekey_simulator.state import State


@dataclass(frozen=True, slots=True)
class OpenAICall:
    """One call: the request, the behaviour of its response, and where objects are stored."""

    request: SimulatedRequest
    behaviour: Behaviour
    state: State
    key: str = ""
    """The part of the raw path at the `{}` in the table."""
