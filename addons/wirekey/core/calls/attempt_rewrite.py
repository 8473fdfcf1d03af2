"""Changes of features to the request of an attempt, such as of its format, and then to its response."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial, reduce
from typing import TYPE_CHECKING, Protocol

from wirekey.core.calls.moved import is_moved, moved_attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mitmproxy import http

    from wirekey.core.call import Call, Outcome
    from wirekey.core.calls.attempt_state import AttemptState
    from wirekey.core.calls.services import Services
    from wirekey.core.calls.state import CallState
    from wirekey.core.operation import Facts, Operation

    type Step = Callable[[AttemptState], AttemptState]
    type FindStep = Callable[[CallState, AttemptState, http.Request], Step | None]

AT_ONCE = 128 * 1024
"""Bytes of a request or response up to which it is rewritten on the event loop, in two milliseconds at most."""


@dataclass(frozen=True, slots=True)
class AttemptRewrite:
    """The part of a feature that changes the request of an attempt before its credential is chosen.

    `make` returns what finds the step for an attempt: a function, or None if the request stays as it is. The step needs
    nothing of the event loop, so a thread may run it. It raises Refusal if the request cannot be sent.
    """

    make: Callable[[Services], FindStep]


class RewrittenRequest(Protocol):
    """A request in another format than the client's, as an attempt sends it. It is in `AttemptState.rewritten`."""

    @property
    def operation(self) -> Operation:
        """The operation of the upstream's provider."""

    @property
    def facts(self) -> Facts:
        """The facts that the upstream's provider reads in the request."""

    def fields(self, fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Return the header fields that are sent in place of the client's."""

    def record(self, call: Call) -> None:
        """Note in a call's event what was changed."""

    def response(self, state: CallState, response: http.Response, limit: int) -> ResponseRewrite:
        """Return what changes the response back, after it has changed the head.

        `limit`: the most bytes of a response that is held whole.
        """


class ResponseRewrite(Protocol):
    """The last step of a response before the client: it gets the upstream's bytes and returns the client's."""

    @property
    def holds(self) -> bool:
        """Whether the client gets nothing before the end, not even the head."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the client's bytes for the next bytes of the upstream. Raises ResponseRefused."""

    def finish(self, rest: Iterable[bytes]) -> None:
        """Rewrite a response that is held, of which `rest` was not fed yet. A thread may do it before the end."""

    def end(self) -> list[bytes]:
        """Return the client's last bytes."""

    def failure(self) -> tuple[Outcome, str | None] | None:
        """Return the outcome and the reason of a stream that its client saw end with an error; None for any other."""


def body_rewrite(
    services: Services, state: CallState, attempt: AttemptState, request: http.Request
) -> Callable[[], AttemptState] | None:
    """Return what rewrites the body of an attempt for its upstream, or None if the body stays as it is.

    A thread may run the function. It raises Refusal if the request cannot be sent.
    """
    steps: list[Step] = [step for find in services.rewrites if (step := find(state, attempt, request))]
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
