"""Once more, by another way: what follows an attempt that failed before any byte of an answer reached the client."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from wirekey.refusal import Refusal
from wirekey.routing.plan import Failure
from wirekey.stations.attempt import equip
from wirekey.stations.credentials import settle_answer
from wirekey.stations.station import Station, not_again

if TYPE_CHECKING:
    from wirekey.stations.house import Passage
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
        if following.wait:
            await asyncio.sleep(following.wait)
        try:
            await equip(self.house, attempt.flow, following)
        except Refusal as refusal:
            # The way is closed: what the client gets is why the last attempt failed.
            logger.warning("that way is closed: %s", refusal.code)
            passage.settled = attempt.answer is not None
            return
        attempt.again = True

    def failure_of(self, passage: Passage, attempt: FailedAttempt) -> Failure:
        if attempt.answer is None:
            return Failure(attempt.kind)
        status = attempt.answer.status_code
        return Failure(attempt.kind, status, settle_answer(self.house, passage, status, attempt.answer.headers))
