"""The child process of `reader.py`: reads bodies until the parent closes the socket.

A message from the parent has the lengths of a pickled `ReadTask` and of the body, and then both. The reply has its
length and what `messages.py` makes of it. No message has a part of a body except names.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import resource
import signal
import socket
import struct

from wirekey.core.body import SpooledBody
from wirekey.core.body_reading.messages import Reply, encode
from wirekey.core.body_reading.reading import ReadTask, read
from wirekey.core.errors import Refusal
from wirekey.core.tracebacks import safe_traceback

LENGTHS = struct.Struct("!IQ")
LENGTH = struct.Struct("!I")
NICENESS = 5
"""On a busy machine, calls of other agents go first."""


def receive_into(source: socket.socket, target: memoryview) -> bool:
    """Fill a buffer. Return False at the end of the stream."""
    while target:
        size = source.recv_into(target)
        if not size:
            return False
        target = target[size:]
    return True


def serve(parent: socket.socket) -> None:
    """Read each body that the parent sends, until it closes the socket."""
    lengths = bytearray(LENGTHS.size)
    while receive_into(parent, memoryview(lengths)):
        task_length, body_length = LENGTHS.unpack(lengths)
        data = bytearray(task_length)
        # Pages of its own, which go back to the system with the body.
        body = SpooledBody(-1, body_length)
        with memoryview(body) as view:
            if not (receive_into(parent, memoryview(data)) and receive_into(parent, view)):
                return
        reply = encode(reply_to(pickle.loads(data), body))  # noqa: S301  # from the parent
        del body
        parent.sendall(LENGTH.pack(len(reply)) + reply)


def reply_to(task: ReadTask, body: SpooledBody) -> Reply:
    """Return what was read, or why it was not."""
    try:
        return read(task, body)
    except Refusal as refusal:
        return refusal.with_traceback(None)
    except Exception as error:
        return safe_traceback(error)


def main() -> None:
    """Run the child on the socket that is its standard input."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        serve(socket.socket(fileno=0))


if __name__ == "__main__":
    main()
