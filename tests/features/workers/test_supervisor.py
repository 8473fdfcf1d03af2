"""A worker that sends what the supervisor cannot read is ended and replaced, and the other way round."""

from __future__ import annotations

import asyncio
import socket
import sys
import textwrap

import pytest

from tests.support.running import PATIENCE
from wirekey.features.workers import connection as working
from wirekey.features.workers import supervisor as supervising
from wirekey.features.workers.connection import SupervisedWorker
from wirekey.features.workers.supervisor import Supervisor

WORKER = textwrap.dedent("""
    import pathlib, socket, sys, time
    connection = socket.socket(fileno=int(sys.argv[-1]))
    connection.recv(65536)
    connection.sendall(b'{"listening": true}\\n')
    starts = pathlib.Path(sys.argv[1])
    first = not starts.exists()
    with starts.open("a") as file:
        file.write("started\\n")
    if first:
        connection.sendall(eval(sys.argv[2]))
    while connection.recv(65536):
        pass
""")
HOSTILE = {
    "no JSON": rb"b'\xff\x00 no JSON\n'",
    "a number": b"b'7\\n'",
    "other members": b"b'{\"ask\": 1}\\n'",
    "a line without an end": b"b'x' * 100_000",
    "deep": b"b'[' * 50_000 + b'\\n'",
}


@pytest.mark.parametrize("said", HOSTILE)
async def test_a_worker_whose_messages_cannot_be_read_is_replaced(said, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(supervising, "LONGEST_LINE", 65536)
    starts = tmp_path / "starts"
    command = [sys.executable, "-I", "-S", "-c", WORKER, str(starts), HOSTILE[said].decode()]
    supervisor = Supervisor(1, command, {})
    running = asyncio.create_task(supervisor.run())
    async with asyncio.timeout(PATIENCE):
        while not starts.exists() or starts.read_text().count("started") < 2:
            await asyncio.sleep(0.01)
        supervisor.stop(at_once=True)
        supervising.kill(supervisor.workers[1])
        assert await running == 0
    assert "cannot be read" in caplog.text


UNREADABLE = {
    "no JSON": b"\xff\n",
    "no object": b"[1]\n",
    "a number": b"7\n",
    "other members": b'{"ask": 1}\n',
    "a line without an end": b"x" * 100_000,
}


@pytest.mark.parametrize("said", UNREADABLE)
async def test_a_worker_that_cannot_read_its_supervisor_ends_after_its_calls(said, monkeypatch):
    monkeypatch.setattr(working, "LONGEST_LINE", 65536)
    ours, theirs = socket.socketpair()
    with ours:
        ours.sendall(b'{"number": 1, "tag": "00", "sockets": {}}\n')
        worker = SupervisedWorker(theirs)
        drained = asyncio.get_running_loop().create_future()
        worker.on_drain = lambda accept_for, replaced: drained.set_result((accept_for, replaced))
        await worker.connect()
        ours.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(ours, UNREADABLE[said])
        assert await asyncio.wait_for(drained, PATIENCE) == (0.0, False)
        worker.close()
