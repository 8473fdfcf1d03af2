"""A record keeps each intent before its call and each event once, in a file as in PostgreSQL."""

import asyncio
import contextlib
import time
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pytest

from tests.support.audit_databases import WriterOfTest
from tests.support.postgres_server import database, postgres
from tests.support.recorded_calls import call_of, finish
from wirekey.core.audit import schema
from wirekey.core.audit.event import ATTEMPT_NAMES, NAMES, event_of
from wirekey.core.audit.sqlite import SqliteAudit
from wirekey.core.audit.store import AuditStore
from wirekey.core.call import AttemptRecord, Call, Outcome
from wirekey.features.postgresql.writer import PostgresAudit

__all__ = ["database", "postgres"]

FAILED = AttemptRecord("api.openai.com", "openai/1", None, "gpt-4o", "status", 429, 12.5)
PATIENT = 30.0
"""Seconds. A test must not fail because the machine is busy."""


@dataclass
class Record:
    """A store that runs, and a way to read what it has written."""

    audit: AuditStore
    connect: Any

    def read(self, table, names, order):
        with contextlib.closing(self.connect()) as connection:
            return connection.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY {order}").fetchall()

    def rows(self):
        events = [dict(zip(NAMES, row, strict=True)) for row in self.read("calls", NAMES, "id")]
        return {event["id"]: event for event in events}

    def attempts(self):
        return [list(row) for row in self.read("attempts", ATTEMPT_NAMES, "call_id, number")]


@pytest.fixture(params=["file", "postgresql"])
async def record(request, tmp_path):
    store, _, durability = request.param.partition(" ")
    durability = durability or "commit"
    if store == "file":
        path = tmp_path / "state" / "audit.db"
        audit = AuditStore(SqliteAudit(path, durability, bound=PATIENT), replica="eu-1")
        connect = lambda: schema.open_for_reading(path)  # noqa: E731
    else:
        url = request.getfixturevalue("database")
        audit = AuditStore(WriterOfTest(opener(url, durability), bound=PATIENT), replica="eu-1")
        connect = lambda: psycopg.connect(url.reveal(), options="-c search_path=wirekey")  # noqa: E731
    audit.start()
    yield Record(audit, connect)
    await audit.close()


def opener(url, durability):
    def open_database():
        opened = PostgresAudit(url, "owner", durability=durability, limit=PATIENT)
        opened.open()
        return opened

    return open_database


async def test_an_acknowledged_intent_is_in_the_record(record):
    call = call_of()
    await record.audit.record_intent(call)
    assert record.rows() == {call.id: event_of(call)}
    assert record.rows()[call.id]["outcome"] is None


@pytest.mark.parametrize("record", ["file", "file fsync", "postgresql", "postgresql fsync"], indirect=True)
async def test_an_outcome_completes_the_row(record):
    call = call_of()
    await record.audit.record_intent(call)
    record.audit.record_outcome(finish(call, model="gpt-4.1"))
    await record.audit.close()
    assert record.rows() == {call.id: event_of(call)}


async def test_a_denied_call_has_one_row(record):
    denied = Call(outcome=Outcome.DENIED, policy_result="deny", policy_reason="no", status=403)
    record.audit.record_final(denied)
    await record.audit.close()
    assert record.rows() == {denied.id: event_of(denied)}


async def test_an_event_names_the_process_that_recorded_it(record):
    call, denied = call_of(), call_of(outcome=Outcome.DENIED)
    await record.audit.record_intent(call)
    assert record.rows()[call.id]["replica"] == "eu-1"
    record.audit.record_outcome(finish(call))
    record.audit.record_final(denied)
    await record.audit.close()
    assert [event["replica"] for event in record.rows().values()] == ["eu-1", "eu-1"]


async def test_an_outcome_is_written_without_waiting_for_another_call(record):
    call = call_of()
    await record.audit.record_intent(call)
    record.audit.record_outcome(finish(call))
    deadline = time.monotonic() + PATIENT
    while record.rows()[call.id]["outcome"] is None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_later_changes_of_a_call_are_not_recorded(record):
    call = call_of()
    await record.audit.record_intent(call)
    record.audit.record_outcome(finish(call))
    call.status = 599
    await record.audit.close()
    assert record.rows()[call.id]["status"] == 200


async def test_a_thousand_concurrent_calls_share_commits_and_are_all_recorded(record):
    calls = [call_of() for _ in range(1000)]
    await asyncio.gather(*(record.audit.record_intent(call) for call in calls))
    for call in calls:
        record.audit.record_outcome(finish(call))
    await record.audit.close()
    assert record.rows() == {call.id: event_of(call) for call in calls}


@pytest.mark.parametrize("moment", ["before it is sent", "while it is written"])
async def test_a_call_cancelled_while_its_intent_is_written_has_its_own_outcome(record, moment):
    call = call_of()
    waiting = asyncio.create_task(record.audit.record_intent(call))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if moment == "while it is written":
        await asyncio.sleep(0.05)
    waiting.cancel()
    call.outcome = Outcome.CLIENT_CANCELLED
    record.audit.record_final(call)
    await record.audit.close()
    assert record.rows()[call.id]["outcome"] == "client_cancelled"


async def test_a_row_rejected_by_the_database_does_not_block_others(record):
    good = call_of(outcome=Outcome.DENIED)
    record.audit._gather(record.audit._gathering.finals, ("too", "short"))
    record.audit.record_final(good)
    await record.audit.close()
    assert list(record.rows()) == [good.id]
    assert record.audit.lost == 1


# Calls with several attempts.


async def test_a_retried_call_has_a_row_for_each_attempt(record):
    call = call_of(credential="openai/2", route="routes[0]")
    await record.audit.record_intent(call)
    record.audit.record_outcome(finish(call, attempts=2, failed_attempts=(FAILED,), attempt_began=time.perf_counter()))
    await record.audit.close()
    first, second = record.attempts()
    assert first[:9] == [call.id, 1, "api.openai.com", "openai/1", None, "gpt-4o", "status", 429, 12.5]
    assert second[:8] == [call.id, 2, "api.openai.com", "openai/2", "routes[0]", "gpt-4o-mini", None, 200]
    assert second[8] >= 0
    assert first[9:] == second[9:] == [None] * 3


async def test_each_attempt_has_its_own_translation(record):
    failed = replace(FAILED, translation="openai.chat>anthropic", adjusted="temperature", dropped="seed")
    call = call_of(attempts=1, failed_attempts=(failed,), translation="openai.chat>gemini", dropped="user")
    await record.audit.record_intent(call)
    await record.audit.record_next_attempt(call)
    found = [["openai.chat>anthropic", "temperature", "seed"], ["openai.chat>gemini", None, "user"]]
    assert [row[9:] for row in record.attempts()] == found
    record.audit.record_outcome(finish(call, attempts=2, attempt_began=time.perf_counter()))
    await record.audit.close()
    assert [row[9:] for row in record.attempts()] == found


@pytest.mark.parametrize(
    ("ended", "failure", "status"),
    [
        ({"outcome": Outcome.UPSTREAM_ERROR, "status": 503}, "upstream_error", 503),
        ({"outcome": Outcome.TIMEOUT, "status": 504, "refusal_code": "upstream_timeout"}, "timeout", None),
        ({"outcome": Outcome.CLIENT_CANCELLED, "status": None}, "client_cancelled", None),
    ],
    ids=["upstream error", "timeout", "client cancelled"],
)
async def test_the_last_attempt_has_the_outcome_of_the_call(record, ended, failure, status):
    call = call_of()
    await record.audit.record_intent(call)
    record.audit.record_outcome(finish(call, attempts=2, failed_attempts=(FAILED,), **ended))
    await record.audit.close()
    assert [row[6:8] for row in record.attempts()] == [["status", 429], [failure, status]]


async def test_a_call_sent_once_has_no_attempt_rows(record):
    call = call_of()
    await record.audit.record_intent(call)
    record.audit.record_outcome(finish(call, attempts=1, failed_attempts=(FAILED,)))
    await record.audit.close()
    assert record.attempts() == []


def about_to_be_sent_again():
    return call_of(credential="openai/2", attempts=1, failed_attempts=(FAILED,))


async def test_a_retry_is_in_the_record_before_it_is_sent(record):
    call = about_to_be_sent_again()
    await record.audit.record_intent(call)
    await record.audit.record_next_attempt(call)
    first, second = record.attempts()
    assert first[1:9] == [1, "api.openai.com", "openai/1", None, "gpt-4o", "status", 429, 12.5]
    assert second[1:9] == [2, call.upstream, "openai/2", None, "gpt-4o-mini", None, None, None]
    record.audit.record_outcome(finish(call, attempts=2, attempt_began=time.perf_counter()))
    await record.audit.close()
    assert [(row[1], row[6], row[7], row[8] is None) for row in record.attempts()] == [
        (1, "status", 429, False),
        (2, None, 200, False),
    ]


async def test_an_attempt_that_was_recorded_but_not_sent_has_the_outcome_of_the_call(record):
    call = about_to_be_sent_again()
    await record.audit.record_intent(call)
    await record.audit.record_next_attempt(call)
    record.audit.record_outcome(finish(call, attempts=1, outcome=Outcome.CLIENT_CANCELLED, status=None))
    await record.audit.close()
    assert [row[6:8] for row in record.attempts()] == [["status", 429], ["client_cancelled", None]]
