"""The part of a feature that limits what the program of `exec` uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping, Sequence

    import click

    from wirekey.cli.program_token import Program
    from wirekey.config import Config


class ProgramRequest(NamedTuple):
    """A program that `exec` is about to run. `agent` is None for the agent of the user."""

    config: Config
    agent: str | None
    strict: bool


class LimitedProgram(Protocol):
    """A program of `exec` whose use a feature limits."""

    program: Program
    """Its agent, with a token for it alone."""
    lifetime: float
    """Seconds for which the token is valid without a renewal."""

    def watch(self, child: subprocess.Popen[bytes]) -> None:
        """Watch the program, which has started. Returns at once."""

    def finish(self, code: int) -> int:
        """Note that the program has ended, with this exit code. Return the exit code of `exec`."""


@dataclass(frozen=True, slots=True)
class ProgramLimits:
    """The part of a feature that limits what the program of `exec` uses. It adds options to `exec`.

    `begin` gets the values of these options by name. It returns None if they do not limit the program.
    """

    options: Callable[[], Sequence[click.Parameter]]
    begin: Callable[[ProgramRequest, Mapping[str, Any]], LimitedProgram | None]
