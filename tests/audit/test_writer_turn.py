"""Processes that write to one audit file take turns, and one that dies gives its turn up."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import time

from tests.support.running import wait_for

from wirekey.core.audit.file import AuditFile
from wirekey.core.audit.rows import Rows
from wirekey.core.audit.writer_turn import WriterTurn

FORK = multiprocessing.get_context("fork")
WRITERS, WRITES = 4, 100


def hold(path, entered) -> None:
    with WriterTurn(path):
        entered.set()
        time.sleep(60)


def test_the_turn_of_a_process_that_is_killed_passes_to_the_next(tmp_path):
    path = tmp_path / "audit.db.lock"
    entered = FORK.Event()
    holder = FORK.Process(target=hold, args=(path, entered))
    holder.start()
    assert entered.wait(30)
    os.kill(holder.pid, signal.SIGKILL)
    with WriterTurn(path):
        pass
    holder.join()


def write(path, number: int, failures) -> None:
    file = AuditFile(path, "commit", 0.4, shared=True)
    for _ in range(WRITES):
        refusal, _ = file.write(Rows(trial=True))
        if refusal:
            failures.put((number, refusal))
    file.close()


def test_no_process_waits_in_vain_while_others_write(tmp_path):
    path = tmp_path / "audit.db"
    AuditFile(path, "commit", 0.4).close()
    failures = FORK.Queue()
    writers = [FORK.Process(target=write, args=(path, number, failures)) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    wait_for(lambda: not any(writer.is_alive() for writer in writers), "the writers")
    assert failures.empty(), failures.get()
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)
