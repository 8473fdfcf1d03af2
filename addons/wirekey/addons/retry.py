"""Once more, by another way: what follows an attempt that failed before any byte of an answer reached the client."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from wirekey.addons.base import Addon
from wirekey.addons.credentials import record_response
from wirekey.audit.store import AuditUnavailable
from wirekey.call import AttemptRecord
from wirekey.calls.attempt import prepare_attempt, use_attempt
from wirekey.errors import Refusal
from wirekey.routing.plan import Failure

if TYPE_CHECKING:
    from wirekey.call import Call
    from wirekey.calls.state import CallState
    from wirekey.wire.retry_hooks import FailedAttempt

logger = logging.getLogger(__name__)


class Failover(Addon):
    async def attempt_failed(self, attempt: FailedAttempt) -> None:
        state = self.calls.state(attempt.flow)
        plan = state.plan
        if plan is None or state.attempt is None:
            return
        failure = self.failure_of(state, attempt)
        next_attempt = plan.after(failure, time.monotonic())
        if next_attempt is None:
            state.response_recorded = attempt.response is not None
            return
        logger.info(
            "attempt %d at %s with %s failed (%s): going on with %s",
            state.call.attempts,
            state.call.upstream,
            state.call.credential,
            failure.status or failure.kind,
            next_attempt.candidate.route or next_attempt.candidate.provider,
        )
        if next_attempt.wait and await left_within(next_attempt.wait, attempt):
            return
        failed, previous = failed_attempt(state.call, failure), state.attempt
        try:
            await prepare_attempt(self.services, attempt.flow, next_attempt)
            await self.record_attempt(state.call, failed)
        except (Refusal, AuditUnavailable) as closed:
            # The way is closed: what the client gets is why the last attempt failed.
            use_attempt(self.calls, attempt.flow, previous)
            reason = closed.code if isinstance(closed, Refusal) else str(closed)
            logger.warning("that way is closed: %s", reason)
            state.response_recorded = attempt.response is not None
            return
        attempt.retry = True

    async def attempt_repeated(self, attempt: FailedAttempt) -> None:
        """Let an attempt go out anew, as it was, that the provider did not begin with."""
        call = self.calls.of(attempt.flow)
        try:
            await self.record_attempt(call, failed_attempt(call, Failure(attempt.kind)))
        except AuditUnavailable as error:
            logger.warning("the call is not sent anew: %s", error)
            return
        attempt.retry = True

    async def record_attempt(self, call: Call, failed: AttemptRecord) -> None:
        """Record an attempt before it goes out. Raises AuditUnavailable, and the call is then as it was."""
        before = call.failed_attempts
        call.failed_attempts += (failed,)
        try:
            await self.services.store.record_next_attempt(call)
        except AuditUnavailable:
            call.failed_attempts = before
            raise

    def failure_of(self, state: CallState, attempt: FailedAttempt) -> Failure:
        if attempt.response is None:
            return Failure(attempt.kind)
        status = attempt.response.status_code
        return Failure(attempt.kind, status, record_response(self.services, state, status, attempt.response.headers))


async def left_within(seconds: float, attempt: FailedAttempt) -> bool:
    """Wait so long, as the provider asked; at once True when the client does not."""
    try:
        async with asyncio.timeout(seconds):
            return await attempt.client_left.wait()
    except TimeoutError:
        return False


def failed_attempt(call: Call, failure: Failure) -> AttemptRecord:
    duration_ms = round((time.perf_counter() - call.attempt_began) * 1000, 3)
    return AttemptRecord(
        call.upstream, call.credential, call.route, call.model, failure.kind.value, failure.status, duration_ms
    )
