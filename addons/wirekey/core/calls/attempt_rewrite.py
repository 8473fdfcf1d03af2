"""Changes of features to the request of an attempt, such as of its format, and then to its response."""

from __future__ import annotations

from functools import partial, reduce
from typing import TYPE_CHECKING

from wirekey.core.calls.moved import is_moved, moved_attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mitmproxy import http

    from wirekey.core.call import Call
    from wirekey.core.calls.attempt_state import AttemptState
    from wirekey.core.calls.rewriting import RewrittenRequest
    from wirekey.core.calls.state import CallState

    type Step = Callable[[AttemptState], AttemptState]
    type FindStep = Callable[[CallState, AttemptState, http.Request], Step | None]

AT_ONCE = 128 * 1024
"""Bytes of a request or response up to which it is rewritten on the event loop, in two milliseconds at most."""


def body_rewrite(
    rewrites: Iterable[FindStep], state: CallState, attempt: AttemptState, request: http.Request
) -> Callable[[], AttemptState] | None:
    """Return what rewrites the body of an attempt for its upstream, or None if the body stays as it is.

    `rewrites`: they find the steps of features. A thread may run the function. It raises Refusal if the request cannot
    be sent.
    """
    steps: list[Step] = [step for find in rewrites if (step := find(state, attempt, request))]
    if is_moved(state, attempt.planned.candidate):
        steps.append(partial(moved_attempt, state))
    return partial(rewritten, steps, attempt) if steps else None


def rewritten(steps: Sequence[Step], attempt: AttemptState) -> AttemptState:
    """Return an attempt after these steps. Raises Refusal."""
    return reduce(lambda changed, step: step(changed), steps, attempt)


def record_rewrite(call: Call, request: RewrittenRequest | None) -> None:
    """Note in a call's event what was changed in the request of its attempt, and nothing of an earlier attempt."""
    call.translation = call.adjusted = call.dropped = None
    call.losses = ()
    if request:
        request.record(call)
