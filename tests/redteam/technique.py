"""A technique of the red team, and what is known after it was tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.redteam.ground import Ground


@dataclass(frozen=True)
class Technique:
    """One attempt of an untrusted program.

    `attack` returns what the program received, the status or the exception first. `may_arrive`: a request may reach the
    provider, but only as a recorded call of the agent that was authenticated.
    """

    family: str
    tried: str
    attack: Callable[[Ground], str]
    may_arrive: bool = False


@dataclass(frozen=True)
class Result:
    """What a technique led to. `broken` says which rules were broken, and is empty if Wirekey held."""

    number: int
    technique: Technique
    stopped_by: str
    broken: tuple[str, ...]

    @property
    def held(self) -> bool:
        return not self.broken
