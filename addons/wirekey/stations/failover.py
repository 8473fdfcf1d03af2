"""Once more, by another way: what follows an attempt that failed before any byte of an answer reached the client."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from wirekey.audit.store import AuditUnavailable
from wirekey.call import Attempt
from wirekey.refusal import Refusal
from wirekey.routing.plan import Failure
from wirekey.stations.attempt import Former, equip
from wirekey.stations.credentials import settle_answer
from wirekey.stations.station import Station, not_again

if TYPE_CHECKING:
    from wirekey.call import Call
    from wirekey.stations.passage import Passage
    from wirekey.wire.attempts import FailedAttempt

logger = logging.getLogger(__name__)


class Failover(Station):
    @not_again
    async def attempt_failed(self, attempt: FailedAttempt) -> None:
        passage = self.house.passage(attempt.flow)
        plan, choice = passage.plan, passage.choice
        if plan is None or choice is None:
            return
        failure = self.failure_of(passage, attempt)
        following = plan.after(failure, time.monotonic())
        if following is None:
            passage.settled = attempt.answer is not None
            return
        logger.info(
            "attempt %d at %s with %s failed (%s): going on with %s",
            passage.call.attempts,
            passage.call.upstream,
            passage.call.credential,
            failure.status or failure.kind,
            following.candidate.route or following.candidate.provider,
        )
        if following.wait and await left_within(following.wait, attempt):
            return
        failed = failed_attempt(passage.call, failure)
        former = Former(self.house, attempt.flow)
        try:
            await equip(self.house, attempt.flow, following)
            await self.announce(passage.call, failed)
        except (Refusal, AuditUnavailable) as closed:
            # The way is closed: what the client gets is why the last attempt failed.
            former.restore()
            reason = closed.code if isinstance(closed, Refusal) else str(closed)
            logger.warning("that way is closed: %s", reason)
            passage.settled = attempt.answer is not None
            return
        attempt.again = True

    @not_again
    async def attempt_repeated(self, attempt: FailedAttempt) -> None:
        """Let an attempt go out anew, as it was, that the provider did not begin with."""
        call = self.house.call(attempt.flow)
        try:
            await self.announce(call, failed_attempt(call, Failure(attempt.kind)))
        except AuditUnavailable as error:
            logger.warning("the call is not sent anew: %s", error)
            return
        attempt.again = True

    async def announce(self, call: Call, failed: Attempt) -> None:
        """Record an attempt before it goes out. Raises AuditUnavailable, and the call is then as it was."""
        before = call.failed_attempts
        call.failed_attempts += (failed,)
        try:
            await self.house.store.record_next_attempt(call)
        except AuditUnavailable:
            call.failed_attempts = before
            raise

    def failure_of(self, passage: Passage, attempt: FailedAttempt) -> Failure:
        if attempt.answer is None:
            return Failure(attempt.kind)
        status = attempt.answer.status_code
        return Failure(attempt.kind, status, settle_answer(self.house, passage, status, attempt.answer.headers))


async def left_within(seconds: float, attempt: FailedAttempt) -> bool:
    """Wait so long, as the provider asked; at once True when the client does not."""
    try:
        async with asyncio.timeout(seconds):
            return await attempt.client_left.wait()
    except TimeoutError:
        return False


def failed_attempt(call: Call, failure: Failure) -> Attempt:
    duration_ms = round((time.perf_counter() - call.attempt_began) * 1000, 3)
    return Attempt(
        call.upstream, call.credential, call.route, call.model, failure.kind.value, failure.status, duration_ms
    )
