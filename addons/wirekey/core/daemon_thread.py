"""Work beside the event loop that may hang, such as in the resolver, and must not delay the end of the process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


async def in_daemon_thread[Result](work: Callable[[], Result], name: str) -> Result:
    """Return the result of `work`, run in a daemon thread of its own, or raise its exception.

    The threads of `asyncio.to_thread` do not fit: the end of the loop waits for them.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()

    def deliver(settle: Callable[[], None]) -> None:
        def unless_abandoned() -> None:
            if not done.done():
                settle()

        with contextlib.suppress(RuntimeError):  # the loop was closed before
            loop.call_soon_threadsafe(unless_abandoned)

    def run() -> None:
        try:
            result = work()
        except Exception as error:  # it is raised where it is waited for
            failed = error
            deliver(lambda: done.set_exception(failed))
        else:
            deliver(lambda: done.set_result(result))

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done
