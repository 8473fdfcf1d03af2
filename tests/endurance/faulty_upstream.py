"""Upstreams that cannot be reached, each for another reason, on free ports of this machine."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

from tests.support.raw_upstream import RawUpstream, silence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def refused() -> Iterator[str]:
    """A port that is bound, so that no other program gets it, and does not listen."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"https://127.0.0.1:{bound.getsockname()[1]}"


@contextlib.contextmanager
def blackhole() -> Iterator[str]:
    """A port whose queue is full, so that the first packet of a connection gets no response."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(64):
            filler = stack.enter_context(socket.socket())
            filler.settimeout(0.2)
            try:
                filler.connect(listener.getsockname())
            except TimeoutError:
                break
        else:
            raise AssertionError("this system answers connections beyond the queue of a listener")
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"


@contextlib.contextmanager
def tls_stall(folder: Path) -> Iterator[str]:
    """Takes connections, and says nothing to a TLS handshake."""
    with RawUpstream(folder, silence, tls=False) as mute:
        yield mute.url
