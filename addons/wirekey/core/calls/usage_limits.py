"""The interface to a feature that limits what calls use, such as requests, tokens and dollars."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from wirekey.core.errors import Fault, Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from wirekey.config import Config
    from wirekey.core.calls.state import CallState
    from wirekey.core.metering.deltas import ResponseMeter
    from wirekey.core.operation import Facts, ResponseReader, Usage
    from wirekey.core.policy.input import Input
    from wirekey.core.routing.candidate import Candidate
    from wirekey.core.routing.plan import Failure

NO_HEADERS: Mapping[str, str] = MappingProxyType({})
RUNS_NOT_ENFORCED = Refusal(
    503,
    "runs_not_enforced",
    "The token belongs to a run, and this installation cannot enforce its limits: the feature quotas is missing.",
    Fault.OPERATOR,
)
NO_RATIOS: Mapping[str, float] = MappingProxyType({})


class UsageLimits:
    """Limits what calls use. This class limits nothing, and is used if no feature has a subclass.

    The feature keeps the amounts that the present attempt of a call holds in `CallState.features`. `Audit` has them
    settled when the call ends.
    """

    # Of each call.

    def note_limits(self, state: CallState, given: Input) -> None:
        """Note which limits apply to a call, and add what is left of them to the policy's input for the call.

        Raises Refusal if the call belongs to a run, whose limits this class does not enforce.
        """
        if state.call.agent and state.call.agent.run:
            raise RUNS_NOT_ENFORCED

    def reserve_next_attempt(self, state: CallState, candidate: Candidate, failure: Failure) -> Awaitable[None] | None:
        """Settle the attempt of a call that failed, and hold the largest use of the next one.

        Return None, or what remains to be awaited. Raises Refusal if a limit is reached; the call then holds nothing.
        """

    def reserve_response(
        self, state: CallState, known: int, cap: int | None, context: int = 0
    ) -> Awaitable[None] | None:
        """Hold the largest use of a response of an open connection, which is a call of its own.

        `known`: bytes of its own input. `cap`: its most output tokens. `context`: tokens of the conversation before, at
        most. Return None, or what remains to be awaited. Raises Refusal if a limit is reached.
        """

    def note_sent(self, state: CallState) -> None:
        """Note that the attempt of a call is sent, so that its use counts."""

    def meter(self, state: CallState, reader: ResponseReader) -> ResponseMeter | None:
        """Return what ends the stream of a call if it uses too much; None if nothing does."""
        return None

    def note_usage(self, state: CallState, usage: Usage, asked: Facts | None) -> None:
        """Note what a response has used. `asked`: the facts of the request that was sent."""

    def settle(self, state: CallState) -> None:
        """Settle the last attempt of a call that has ended, once."""

    def charge(self, state: CallState, charge: str, tokens: int, cost: float) -> Awaitable[None] | None:
        """Charge what was used without a reservation, such as by a batch. `cost`: in US dollars.

        `charge` identifies the charge. A state that several processes share counts it once within an hour.
        `note_limits` comes before. Return None, or what remains to be awaited.
        """

    def release(self, state: CallState) -> None:
        """Release all that a call holds, because it was not sent."""

    def response_headers(self, state: CallState, sent: Mapping[str, str]) -> Mapping[str, str]:
        """Return the headers that say what is left. `sent`: those that the response has already."""
        return NO_HEADERS

    # For operators.

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """Return what the live page shows: the limits of which the least is left."""
        return ()

    def run_rows(self, config: Config) -> Sequence[Mapping[str, Any]]:
        """Return the runs that the live page shows, the latest first. Blocks. Raises UserError."""
        return ()

    def ratios(self) -> Mapping[str, float]:
        """Return limit → the share that is left of it, from 0 to 1."""
        return NO_RATIOS

    # Of the process.

    def open(self, config: Config) -> None:
        """Open what is kept of the use so far. Raises UserError, OSError."""

    async def prepare_reload(self, config: Config) -> None:
        """Open what a changed configuration needs, before it is in use. Raises UserError, OSError."""

    async def maintain(self) -> None:
        """Do what is due between calls, again and again, until it is cancelled."""

    async def finish(self) -> None:
        """Wait until all calls that have ended are settled."""

    def close(self) -> None:
        """Write what was used. May block for a moment."""
