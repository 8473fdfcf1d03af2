"""Work in a thread of its own, whose result or exception comes back to the event loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from wirekey.core.daemon_thread import in_daemon_thread


async def test_the_result_of_the_work_is_returned_and_its_exception_is_raised():
    def fail():
        raise ValueError("of the thread")

    with pytest.raises(ValueError, match="of the thread"):
        await in_daemon_thread(fail, "fails")
    assert await in_daemon_thread(lambda: 3, "succeeds") == 3


async def test_the_thread_has_its_name_and_does_not_keep_the_process_from_exiting():
    thread = await in_daemon_thread(threading.current_thread, "a name")
    assert (thread.name, thread.daemon) == ("a name", True)


def test_work_that_outlives_its_loop_is_harmless():
    release, ended = threading.Event(), threading.Event()

    def work():
        release.wait(60)
        ended.set()

    async def abandon():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(in_daemon_thread(work, "late"), 0.01)

    asyncio.run(abandon())
    release.set()
    assert ended.wait(60)
