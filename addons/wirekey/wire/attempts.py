"""A failed attempt to get an answer from an upstream, and the hook that may give the call another."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mitmproxy.proxy.commands import StartHook
from mitmproxy.proxy.layers.http import Http1Client, Http2Client

if TYPE_CHECKING:
    from mitmproxy import http
    from mitmproxy.proxy.layer import Layer

    from wirekey.routing.plan import FailureKind

ANSWERED_BY_NOBODY = -1
"""The stream id of answers that reach no one."""


@dataclass(slots=True)
class FailedAttempt:
    """`answer`: the head of the provider's error, for STATUS. `again`: set by who has found another way.

    `client_left` is set by the layer as soon as nobody waits for an answer any more.
    """

    flow: http.HTTPFlow
    kind: FailureKind
    answer: http.Response | None = None
    again: bool = False
    client_left: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class AttemptFailedHook(StartHook):
    """Asks the addons whether a call goes out once more; before any byte of an answer went to its client.

    Who sets `again` has seen to it that the house gives another request for the wire.
    """

    attempt: FailedAttempt


@dataclass
class AttemptRepeatedHook(StartHook):
    """Asks whether an attempt goes out anew as it was, as the provider did not begin with it. `again` says so."""

    attempt: FailedAttempt


def detach(connection: Layer, stream_id: int) -> None:
    """Let what an upstream connection still says about a stream reach no one, and the stream use it anew.

    The late end of a cancelled attempt would else be taken for the end of the next one.
    """
    inner = connection.context.layers[-1]
    if isinstance(inner, Http1Client) and inner.stream_id == stream_id:
        inner.stream_id = ANSWERED_BY_NOBODY
    elif isinstance(inner, Http2Client):
        ours = inner.our_stream_id.pop(stream_id, None)
        if ours is not None:
            inner.their_stream_id[ours] = ANSWERED_BY_NOBODY
