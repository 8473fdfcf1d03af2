"""Decides whether to retry an attempt that failed before any byte of a response reached the client."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from wirekey.core.addons.base import Addon
from wirekey.core.addons.credentials import record_response
from wirekey.core.addons.policy import may_fall_back
from wirekey.core.audit.audit_log import AuditUnavailable
from wirekey.core.audit.event import attempt_record
from wirekey.core.calls.attempt import prepare_attempt, use_attempt
from wirekey.core.errors import Refusal
from wirekey.core.routing.plan import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.core.call import AttemptRecord, Call
    from wirekey.core.calls.attempt_state import AttemptState
    from wirekey.core.calls.state import CallState
    from wirekey.core.routing.plan import Attempt
    from wirekey.core.wire.retry_hooks import FailedAttempt

logger = logging.getLogger(__name__)


class Retry(Addon):
    """Decides whether a call that failed is sent again, and prepares and records the next attempt.

    It reads the plan that `Routing` made. It leaves the next `AttemptState`, and sets `attempt.retry` for the wire
    layer. If there is no next attempt, the client gets the failure of the last one.
    """

    async def attempt_failed(self, attempt: FailedAttempt) -> None:
        """Prepare the next attempt of the plan, if there is one."""
        state = self.calls.state(attempt.flow)
        plan = state.plan
        if plan is None or state.attempt is None:
            return
        failure = self.failure_of(state, attempt)
        next_attempt = plan.after(failure, time.monotonic())
        if next_attempt is None or not await self.is_allowed(attempt, state.call, next_attempt):
            state.response_recorded = attempt.response is not None
            return
        logger.info(
            "attempt %d at %s with %s failed (%s): the next one goes to %s",
            state.call.attempts,
            state.call.upstream,
            state.call.credential,
            failure.status or failure.kind,
            next_attempt.candidate.route or next_attempt.candidate.provider,
        )
        if next_attempt.wait and await client_leaves_within(next_attempt.wait, attempt):
            return
        failed, previous = failed_attempt(state.call, failure), state.attempt
        try:
            candidate = next_attempt.candidate
            if waiting := self.services.usage_limits.reserve_next_attempt(state, candidate, failure):
                await waiting
            if waiting := prepare_attempt(self.services, attempt.flow, next_attempt):
                await waiting
            await self.record_attempt(state.call, failed)
        except (Refusal, AuditUnavailable) as closed:
            # The previous attempt stands, and the client gets its failure.
            use_attempt(self.calls, attempt.flow, previous)
            reason = closed.code if isinstance(closed, Refusal) else str(closed)
            logger.warning("the next attempt cannot be made: %s", reason)
            state.response_recorded = attempt.response is not None
            return
        attempt.read_body = error_reader(previous, failure)
        attempt.retry = True

    async def is_allowed(self, failed: FailedAttempt, call: Call, planned: Attempt) -> bool:
        """Return whether the next attempt may be made: one with the fallback of a backend only if the policy allows."""
        model = planned.candidate.model if planned.candidate.if_limited else None
        return model is None or await may_fall_back(self.services, failed.flow, call, model.name)

    async def attempt_repeated(self, attempt: FailedAttempt) -> None:
        """Record that an attempt is sent again unchanged, which the provider did not begin to process."""
        call = self.calls.of(attempt.flow)
        try:
            await self.record_attempt(call, failed_attempt(call, Failure(attempt.kind)))
        except AuditUnavailable as error:
            logger.warning("the call is not sent again: %s", error)
            return
        attempt.retry = True

    async def record_attempt(self, call: Call, failed: AttemptRecord) -> None:
        """Record an attempt before it is sent. Raises AuditUnavailable, and then leaves the call as it was."""
        before = call.failed_attempts
        call.failed_attempts += (failed,)
        try:
            await self.services.store.record_next_attempt(call)
        except AuditUnavailable:
            call.failed_attempts = before
            raise

    def failure_of(self, state: CallState, attempt: FailedAttempt) -> Failure:
        """Return how an attempt failed, after recording its response in the key's pool."""
        if attempt.response is None:
            return Failure(attempt.kind)
        status = attempt.response.status_code
        return Failure(attempt.kind, status, record_response(self.services, state, status, attempt.response.headers))


def error_reader(failed: AttemptState, failure: Failure) -> Callable[[bytes], None] | None:
    """Return what reads the body of a failed attempt's response for a feature; None if nothing does."""
    if failure.status is None:
        return None
    found = (steps.error_reader(failed, failure.status, failure.retry_after) for steps in failed.steps)
    return next(filter(None, found), None)


async def client_leaves_within(seconds: float, attempt: FailedAttempt) -> bool:
    """Wait for the time that the provider asks for. Return True at once if the client leaves."""
    try:
        async with asyncio.timeout(seconds):
            return await attempt.client_left.wait()
    except TimeoutError:
        return False


def failed_attempt(call: Call, failure: Failure) -> AttemptRecord:
    """Return the record of the current attempt of a call, which failed."""
    duration_ms = round((time.perf_counter() - call.attempt_began) * 1000, 3)
    return attempt_record(call, failure.kind.value, failure.status, duration_ms)
