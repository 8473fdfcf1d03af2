"""A technique of the red team, and what is known after it was tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.redteam.ground import Ground


@dataclass(frozen=True)
class Technique:
    """One attempt of an untrusted program, or of a provider.

    `attack` returns what the program received, the status or the exception first. `may_arrive`: a request may reach the
    provider, but only as a recorded call of `agent`. `refused`: a status of success breaks a rule. `needs`: what the
    attempt needs of the system. `known`: the sentence of docs/security.md that says that it is not stopped.
    """

    family: str
    tried: str
    attack: Callable[[Ground], str]
    may_arrive: bool = False
    agent: str = "alice"
    refused: bool = False
    needs: str = ""
    known: str = ""


ROOT = "root"
NAMESPACE = "a network namespace"


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

    @property
    def expected(self) -> bool:
        """Whether it is held, or known not to be."""
        return self.held or bool(self.technique.known)
