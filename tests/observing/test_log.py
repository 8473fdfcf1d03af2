"""Log lines, for people or as JSON, carry the id of their call and are written without blocking."""

from __future__ import annotations

import contextvars
import json
import logging
import os
import re
import threading

import pytest
import structlog
from mitmproxy.test import tflow

from tests.support.running import wait_for
from wirekey.config.log import LogConfig
from wirekey.core.addons.call_log import CallLog
from wirekey.core.body import Body
from wirekey.core.call import Agent, Call, Outcome, current_call_id
from wirekey.core.calls.services import Services
from wirekey.core.observing import log_handler
from wirekey.core.observing.call_lines import CallLine
from wirekey.core.observing.log import CallLines, LineFormatter, set_up_logging
from wirekey.core.observing.log_handler import AsyncLogHandler, FileTarget, StreamTarget
from wirekey.core.operation import Facts, Kind, Operation, Usage

CHAT = Operation("chat.completions", Body.JSON, Kind.INFERENCE)
CALL_ID = "019358a2-0000-7000-8000-8db87d13723e"


def call(**more) -> Call:
    facts = {
        "id": CALL_ID,
        "agent": Agent("alice", "engineer"),
        "client": "127.0.0.1",
        "provider": "openai",
        "method": "POST",
        "path": "/v1/chat/completions",
        "operation": CHAT,
        "facts": Facts("gpt-4o-mini"),
        "model": "gpt-4o-mini",
        "credential": "openai/1",
        "upstream": "api.openai.com",
        "attempts": 1,
        "policy_result": "allow",
        "status": 200,
        "outcome": Outcome.COMPLETED,
        "usage": Usage(12, 9, finish_reason="stop"),
        "cost_usd": 0.0000072,
        "ttfb_ms": 7.2,
        "duration_ms": 14.4,
    }
    return Call(**(facts | more))


def denied(reason: str) -> Call:
    facts = {"usage": None, "cost_usd": None, "ttfb_ms": None, "model": None, "operation": None, "facts": None}
    return call(outcome=Outcome.DENIED, policy_result="deny", policy_reason=reason, status=404, **facts)


PRETTY = [
    (
        call(),
        "200 completed alice openai chat.completions gpt-4o-mini 12 in 9 out $0.0000072 first byte 7 ms 14 ms 8db87d13",
    ),
    (call(model="gpt-4o"), "gpt-4o-mini -> gpt-4o 12 in"),
    (call(usage=Usage(9), cost_usd=0.5), "9 in - out $0.5 first byte"),
    (call(usage=None, cost_usd=None, ttfb_ms=None), "gpt-4o-mini 14 ms 8db87d13723e"),
    (call(agent=None), "200 completed - openai"),
    (denied("unknown_operation: no."), "404 denied alice POST /v1/chat/completions - 14 ms unknown_operation: no. 8db"),
    (call(model="a\n\x1b[31mb"), r"gpt-4o-mini -> a\n\x1b[31mb"),
]


@pytest.mark.parametrize(("given", "shown"), PRETTY)
def test_the_line_of_a_call_has_its_agent_target_and_outcome(given, shown):
    assert shown in re.sub(r" +", " ", str(CallLine(given)))
    assert str(CallLine(given)).endswith("8db87d13723e")


def formatted(message, *, extra=None, error=None, **options) -> str:
    record = logging.LogRecord("wirekey.x", logging.WARNING, __file__, 1, message, (), (type(error), error, None))
    if error is None:
        record.exc_info = None
    record.__dict__.update(extra or {})
    return LineFormatter(**options).format(record)


def test_the_line_as_json_has_the_field_names_of_the_audit_event():
    line = json.loads(formatted(CallLine(call()), as_json=True))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("timestamp"))
    assert line == {
        "event": "call",
        "level": "info",
        "call": CALL_ID,
        "agent_id": "alice",
        "client": "127.0.0.1",
        "provider": "openai",
        "operation": "chat.completions",
        "method": "POST",
        "path": "/v1/chat/completions",
        "model": "gpt-4o-mini",
        "policy_result": "allow",
        "credential": "openai/1",
        "upstream": "api.openai.com",
        "status": 200,
        "outcome": "completed",
        "finish_reason": "stop",
        "input_tokens": 12,
        "output_tokens": 9,
        "cost_usd": 0.0000072,
        "ttfb_ms": 7.2,
        "duration_ms": 14.4,
    }


def test_the_query_of_the_path_is_left_out():
    assert "canary" not in formatted(CallLine(call(path="/v1/models?key=canary")), as_json=True)


@pytest.mark.parametrize("as_json", [True, False])
def test_a_line_about_a_call_has_its_id(as_json):
    def in_a_task() -> str:
        current_call_id.set(CALL_ID)
        return formatted("something is odd", as_json=as_json)

    assert CALL_ID in contextvars.copy_context().run(in_a_task)
    assert CALL_ID in formatted("something is odd", extra={"call": CALL_ID}, as_json=as_json)
    assert "call" not in formatted("something is odd", as_json=as_json)


@pytest.mark.parametrize("hook", ["request", "responseheaders", "response", "error"])
def test_each_hook_logs_with_the_id_of_its_call(hook):
    services, flow = Services(), tflow.tflow()
    opened = contextvars.copy_context().run(services.calls.open, flow)
    assert current_call_id.get() is None

    def in_a_task() -> str | None:
        flow.response = flow.error = None
        getattr(CallLog(services), hook)(flow)
        return current_call_id.get()

    assert contextvars.copy_context().run(in_a_task) == opened.id


@pytest.mark.parametrize("as_json", [True, False])
def test_the_line_of_an_exception_has_type_and_place_but_no_message(as_json):
    line = formatted("it failed", error=ValueError("canary"), as_json=as_json)
    assert "ValueError" in line
    assert "canary" not in line


@pytest.mark.parametrize("as_json", [True, False])
def test_control_characters_are_escaped_and_long_values_truncated(as_json):
    line = formatted("a\x1b[31m\nb" + "x" * 5000, as_json=as_json)
    assert "\x1b" not in line
    assert "\n" not in line
    assert len(line) < 2200


def test_on_a_terminal_the_time_is_short_and_the_outcome_has_a_colour():
    line = formatted(CallLine(call()), as_json=False, colours=True, dated=False)
    assert re.match(r"\d\d:\d\d:\d\d \x1b\[32m200 completed\x1b\[0m alice", line)
    assert "\x1b" not in formatted(CallLine(call()), as_json=False)


@pytest.fixture
def logging_as_before():
    root = logging.getLogger()
    before = list(root.handlers), root.level, structlog.get_config()
    yield root
    for handler in root.handlers:
        if isinstance(handler, AsyncLogHandler):
            handler.close()
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    structlog.configure(**before[2])


def test_lines_of_wirekey_mitmproxy_and_libraries_use_the_same_handler(tmp_path, logging_as_before):
    file = tmp_path / "wirekey.core.observing.log"
    set_up_logging(LogConfig(file=file))
    logging.getLogger("wirekey.addons").info("ours: %s", 1)
    logging.getLogger("mitmproxy.proxy").warning("mitmproxy's")
    logging.getLogger("mitmproxy.proxy").info("mitmproxy's chatter")
    structlog.get_logger().warning("structlog's", path="/x")
    CallLines().ended(call())
    logging_as_before.handlers[0].flush()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["ours: 1", "mitmproxy's", "structlog's", "call"]
    assert lines[2]["path"] == "/x"


LEVELS = [("debug", True), ("info", True), ("warning", False), ("error", False)]


@pytest.mark.parametrize(("level", "said"), LEVELS)
def test_calls_are_logged_at_level_info(level, said, tmp_path, logging_as_before):
    file = tmp_path / "wirekey.core.observing.log"
    set_up_logging(LogConfig(file=file, level=level))
    CallLines().ended(call())
    logging_as_before.handlers[0].flush()
    assert bool(file.read_text()) is said


def writer_to(target) -> AsyncLogHandler:
    writer = AsyncLogHandler(target)
    writer.setFormatter(logging.Formatter("%(message)s"))
    return writer


def say(writer: AsyncLogHandler, text: str) -> None:
    writer.handle(logging.makeLogRecord({"msg": text}))


def test_a_log_file_that_was_moved_is_recreated_without_a_signal(tmp_path):
    file, moved = tmp_path / "wirekey.core.observing.log", tmp_path / "wirekey.core.observing.log.1"
    writer = writer_to(FileTarget(file))
    say(writer, "one")
    writer.flush()
    file.rename(moved)
    say(writer, "two")
    writer.flush()
    file.unlink()
    say(writer, "three")
    writer.close()
    assert (moved.read_text(), file.read_text()) == ("one\n", "three\n")


def test_lines_are_appended_to_an_existing_file(tmp_path):
    file = tmp_path / "wirekey.core.observing.log"
    file.write_text("before\n")
    writer = writer_to(FileTarget(file))
    say(writer, "after")
    writer.close()
    assert file.read_text() == "before\nafter\n"


def test_a_stuck_terminal_blocks_nothing_and_lost_lines_are_counted(monkeypatch):
    monkeypatch.setattr(log_handler, "MAX_LINES", 100)
    monkeypatch.setattr(log_handler, "FLUSH_SECONDS", 0.05)
    reading, writing = os.pipe()
    writer = writer_to(StreamTarget(os.fdopen(writing, "w")))
    said = 3000  # of 100 bytes: more than a pipe holds
    for number in range(said):
        say(writer, f"{number:099}")
    writer.flush()
    got = b""

    def read() -> None:
        nonlocal got
        while data := os.read(reading, 65536):
            got += data

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    wait_for(lambda: not writer.waiting and not writer.is_writing, "what waited to be written")
    say(writer, "after")
    wait_for(lambda: b"after\n" in got, "the line after")
    lines = got.decode().splitlines()
    lost = sum(int(found[1]) for line in lines if (found := re.match(r"(\d+) lines of the log are lost", line)))
    numbers = [int(line) for line in lines if line.isdigit()]
    assert 0 < lost == said - len(numbers)
    assert numbers == sorted(numbers)
    writer.close()


def test_a_full_disk_blocks_nothing(monkeypatch):
    class Full:
        full = True
        written = ""

        def write(self, text: str) -> None:
            if self.full:
                raise OSError(28, "No space left on device")
            self.written += text

        def close(self) -> None: ...

    disk = Full()
    writer = writer_to(disk)
    say(writer, "one")
    writer.flush()
    disk.full = False
    say(writer, "two")
    writer.close()
    assert disk.written.startswith("two\n1 lines of the log are lost")


def test_a_record_that_cannot_be_formatted_is_not_printed_elsewhere(capsys, tmp_path):
    class Odd:
        def __str__(self) -> str:
            raise ValueError("canary")

    file = tmp_path / "wirekey.core.observing.log"
    writer = writer_to(FileTarget(file))
    writer.handle(logging.makeLogRecord({"msg": Odd(), "name": "odd"}))
    writer.close()
    assert "a line of odd could not be formatted: ValueError" in file.read_text()
    assert "canary" not in file.read_text() + capsys.readouterr().err


def test_the_line_of_a_call_is_made_in_the_thread_of_the_log(tmp_path, logging_as_before):
    set_up_logging(LogConfig(file=tmp_path / "wirekey.log"))
    handler = logging_as_before.handlers[0]
    form, threads = handler.format_call, []

    def noting(line):
        threads.append(threading.current_thread().name)
        return form(line)

    handler.format_call = noting
    CallLines().ended(call())
    handler.flush()
    assert threads == ["log"]
    assert json.loads((tmp_path / "wirekey.log").read_text())["call"] == CALL_ID


def test_calls_that_no_log_can_take_are_dropped_and_counted(tmp_path, logging_as_before, monkeypatch):
    monkeypatch.setattr(log_handler, "MAX_LINES", 10)
    set_up_logging(LogConfig(file=tmp_path / "wirekey.log"))
    handler, written = logging_as_before.handlers[0], threading.Event()
    monkeypatch.setattr(handler.target, "write", lambda text: written.wait())
    CallLines().ended(call())
    wait_for(lambda: handler.is_writing and not handler.waiting, "the log to wait for its target")
    for _ in range(25):
        CallLines().ended(call())
    assert log_handler.lost_lines() == 15
    written.set()


def test_a_call_whose_line_cannot_be_made_is_not_printed_elsewhere(tmp_path, logging_as_before, capsys):
    set_up_logging(LogConfig(file=tmp_path / "wirekey.log"))
    CallLines().ended(call(facts="canary"))
    logging_as_before.handlers[0].flush()
    written = (tmp_path / "wirekey.log").read_text()
    assert "a line of wirekey.calls could not be formatted: AttributeError" in written
    assert "canary" not in written + capsys.readouterr().err
