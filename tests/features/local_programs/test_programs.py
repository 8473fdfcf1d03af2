"""Programs as processes: their turns, how they end, and what their number is limited to. With the stand-in."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path

import pytest

import wirekey_simulator
from tests.features.local_programs.test_conversation import body
from wirekey.features.local_programs import process
from wirekey.features.local_programs.connection import Stopped
from wirekey.features.local_programs.conversation import read_conversation
from wirekey.features.local_programs.pool import ProgramKey, ProgramPool
from wirekey.features.local_programs.process import Command, LocalProgram, ProgramError
from wirekey_simulator.acp_program import FLOOD, TEXT

SCRIPT = Path(wirekey_simulator.__file__).parent / "acp_program.py"
PATIENCE = 60.0


def command(model="gemini-2.5-flash", *, auto_accept=False, timeout=PATIENCE):
    line = (sys.executable, "-S", "-E", str(SCRIPT), "--model", model)
    return Command(line, {"PATH": os.environ["PATH"], "MARK": "x"}, auto_accept, timeout)


async def answer(program, *texts):
    """Return the reasoning, the text and the stop reason of a turn."""
    found = {True: [], False: []}
    async for event in program.turn(read_conversation(body(*texts))):
        if isinstance(event, Stopped):
            return "".join(found[True]), "".join(found[False]), event.reason
        found[event.is_thought].append(event.text)
    raise AssertionError("the turn has no end")


def run(use, folder, wanted=None):
    """Run a test with a program, which is ended after it."""

    async def with_program():
        program = LocalProgram(wanted or command(), str(folder))
        try:
            await use(program)
        finally:
            await program.end()

    asyncio.run(asyncio.wait_for(with_program(), PATIENCE))


async def until(condition):
    """Wait until something is true."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


def is_running(number):
    """Return whether a process runs that is not only waited for."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("asked", "thoughts", "text", "reason"),
    [
        ("Hi", "", TEXT, "end_turn"),
        ("[thoughts]", "I think of birds.", TEXT, "end_turn"),
        ("[max_tokens]", "", TEXT, "max_tokens"),
        ("[refusal]", "", TEXT, "refusal"),
        ("[cancelled]", "", TEXT, "cancelled"),
        ("[noise]", "", TEXT, "end_turn"),
        ("[stderr]", "", TEXT, "end_turn"),
        ("[permission]", "", '{"outcome": "selected", "optionId": "no"}', "end_turn"),
        ("[flood]", "", "x" * 1024 * FLOOD, "end_turn"),
    ],
)
def test_a_turn_is_what_the_program_says(tmp_path, asked, thoughts, text, reason):
    async def use(program):
        assert await answer(program, asked) == (thoughts, text, reason)

    run(use, tmp_path)


def test_permission_is_given_once_only_if_the_operator_says_so(tmp_path):
    async def use(program):
        assert json.loads((await answer(program, "[permission]"))[1]) == {"outcome": "selected", "optionId": "yes"}
        assert json.loads((await answer(program, "[file]"))[1])["code"] == -32601

    run(use, tmp_path, command(auto_accept=True))


def test_a_program_works_in_its_folder_with_no_more_environment_than_it_is_given(tmp_path):
    async def use(program):
        assert json.loads((await answer(program, "[folder]"))[1]) == str(tmp_path.resolve())
        assert set(json.loads((await answer(program, "[environment]"))[1])) <= {"PATH", "MARK", "LC_CTYPE"}

    run(use, tmp_path)


def test_a_conversation_goes_on_in_its_session_with_the_new_message_only(tmp_path):
    async def use(program):
        assert (await answer(program, "Hi"))[1] == TEXT
        session, count, text = json.loads((await answer(program, "Hi", TEXT, "Why? [prompt]"))[1])
        assert (session, count, text) == ("session-1", 2, "Why? [prompt]")
        session, count, text = json.loads((await answer(program, "Ho", TEXT, "Why? [prompt]"))[1])
        assert (session, count) == ("session-2", 1)
        assert text == f"User: Ho\n\nAssistant: {TEXT}\n\nUser: Why? [prompt]"

    run(use, tmp_path)


@pytest.mark.parametrize(
    ("model", "asked", "status", "words"),
    [
        ("sim-login", "Hi", 503, "Log in with the program"),
        ("sim-version", "Hi", 502, "version 2 of the protocol"),
        ("sim-start-die", "Hi", 502, "it has ended"),
        ("m", "[die]", 502, "it has ended"),
        ("m", "[die-midway]", 502, "it has ended"),
        ("m", "[error]", 502, "error -32603"),
    ],
)
def test_a_program_that_fails_says_why_without_its_own_words(tmp_path, model, asked, status, words):
    async def use(program):
        with pytest.raises(ProgramError, match=words) as failed:
            await answer(program, asked)
        assert failed.value.status == status
        assert "canary" not in str(failed.value)
        assert program.is_over == (asked != "[error]" and model != "sim-login")

    run(use, tmp_path, command(model))


def test_a_program_that_is_not_there_is_a_failure(tmp_path):
    async def use(program):
        with pytest.raises(ProgramError, match="cannot be started") as failed:
            await answer(program, "Hi")
        assert failed.value.status == 503

    run(use, tmp_path, Command((str(tmp_path / "none"),), {}))


def test_a_silent_program_is_ended(tmp_path):
    async def use(program):
        with pytest.raises(ProgramError, match=r"has said nothing for 0\.5 seconds") as failed:
            await answer(program, "[silent]")
        assert failed.value.status == 504
        assert program.is_over

    run(use, tmp_path, command(timeout=0.5))


def test_a_client_that_leaves_cancels_its_turn_and_the_next_one_is_answered(tmp_path):
    async def use(program):
        async with contextlib.aclosing(program.turn(read_conversation(body("[endless]")))) as turn:
            assert (await anext(turn)).text == "and on "
        assert (await answer(program, "Hi"))[1] == TEXT
        assert not program.is_over

    run(use, tmp_path)


def test_a_program_that_does_not_end_a_cancelled_turn_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "CANCEL_LIMIT", 0.2)
    monkeypatch.setattr(process, "END_LIMIT", 0.2)

    async def use(program):
        async with contextlib.aclosing(program.turn(read_conversation(body("[stubborn]")))) as turn:
            assert (await anext(turn)).text == "I stay."
            number = program._process.pid
        await until(lambda: program.is_over and not is_running(number))
        with pytest.raises(ProgramError, match="has ended"):
            await answer(program, "Hi")

    run(use, tmp_path)


def test_two_turns_of_one_program_wait_for_each_other(tmp_path):
    async def use(program):
        found = await asyncio.gather(*(answer(program, f"{number}") for number in range(4)))
        assert [text for _, text, _ in found] == [TEXT] * 4

    run(use, tmp_path)


# The pool.


def key(agent, session=""):
    return ProgramKey(command().line, "/", agent, session)


def run_pool(use, **options):
    async def with_pool():
        pool = ProgramPool(**options)
        try:
            await use(pool)
        finally:
            await pool.close()
        assert pool.count == 0

    asyncio.run(asyncio.wait_for(with_pool(), PATIENCE))


def test_each_agent_and_session_has_a_program_of_its_own():
    async def use(pool):
        seen = set()
        for wanted in (key("alice"), key("bob"), key("alice", "s"), key("alice")):
            async with pool.use(wanted, command()) as program:
                assert (await answer(program, "Hi"))[1] == TEXT
                seen.add(program._process.pid)
        assert (len(seen), pool.count) == (3, 3)

    run_pool(use)


def test_at_the_limit_an_idle_program_makes_room_and_a_busy_one_does_not():
    async def use(pool):
        async with pool.use(key("alice"), command()) as alice:
            await answer(alice, "Hi")
            async with pool.use(key("bob"), command()) as bob:
                await answer(bob, "Hi")
                with pytest.raises(ProgramError, match="All 2 local programs are busy"):
                    async with pool.use(key("carol"), command()):
                        pass
            async with pool.use(key("carol"), command()) as carol:
                await answer(carol, "Hi")
            assert not alice.is_over
            await until(lambda: bob.is_over)
            assert pool.count == 2

    run_pool(use, limit=2)


def test_an_idle_program_is_ended():
    async def use(pool):
        async with pool.use(key("alice"), command()) as program:
            await answer(program, "Hi")
            number = program._process.pid
        await until(lambda: pool.count == 0 and not is_running(number))

    run_pool(use, idle=0.05)


def test_a_program_that_has_ended_is_started_again():
    async def use(pool):
        async with pool.use(key("alice"), command()) as program:
            with pytest.raises(ProgramError):
                await answer(program, "[die]")
        async with pool.use(key("alice"), command()) as program:
            assert (await answer(program, "Hi"))[1] == TEXT

    run_pool(use)


def test_the_end_of_the_pool_ends_every_program_in_the_middle_of_a_turn(monkeypatch):
    monkeypatch.setattr(process, "END_LIMIT", 0.2)
    numbers = []

    async def use(pool):
        async with pool.use(key("alice"), command()) as program:
            turn = program.turn(read_conversation(body("[stubborn]")))
            await anext(turn)
            numbers.append(program._process.pid)
            await pool.close()
            assert not is_running(numbers[0])
            await turn.aclose()

    run_pool(use)
