"""The live feed: the events that pages get, with no page open, with many calls, and with a slow page."""

from __future__ import annotations

import asyncio
import json
import tracemalloc

import pytest

from tests.support.local_endpoints import PATIENCE
from wirekey.core.audit.event import NAMES
from wirekey.core.call import Agent, Call, Outcome
from wirekey.features.console import feed as feeding
from wirekey.features.console.feed import Feed


class Paper:
    """A page that keeps the bytes it receives."""

    def __init__(self) -> None:
        self.is_open, self.is_busy = True, False
        self.got: list[bytes] = []

    def send(self, data: bytes) -> None:
        assert not self.is_busy
        self.got.append(data)

    def close(self) -> None:
        self.is_open = False

    @property
    def frames(self) -> list[dict]:
        found = b"".join(self.got).decode().split("\n\n")
        fields = [dict(line.split(": ", 1) for line in text.split("\n")) for text in found if text]
        return [{"event": "message", **one, "data": json.loads(one["data"])} for one in fields if "data" in one]

    @property
    def rows(self) -> list[dict]:
        return [
            dict(zip(NAMES, row, strict=True))
            for frame in self.frames
            if frame["event"] == "message"
            for row in frame["data"]["rows"]
        ]

    @property
    def more(self) -> int:
        return sum(frame["data"].get("more", 0) for frame in self.frames)

    @property
    def events(self) -> list[str]:
        return [frame["event"] for frame in self.frames]


@pytest.fixture
async def feed(monkeypatch):
    monkeypatch.setattr(feeding, "TICK", 0.01)
    made = Feed()
    yield made
    made.close()


def join(feed, last=None, may_stay=lambda: True) -> Paper:
    paper = Paper()
    feed.join(paper, last, may_stay)
    return paper


def call(**facts) -> Call:
    return Call(agent=Agent("alice"), provider="openai", model="gpt-4o", **facts)


def begin(feed, **facts) -> Call:
    made = call(intent_recorded=True, attempts=1, credential="openai/1", policy_result="allow", **facts)
    feed.began(made)
    return made


def end(feed, made, outcome=Outcome.COMPLETED) -> Call:
    made.outcome = outcome
    feed.ended(made)
    return made


async def until(condition):
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


async def quiet(feed):
    await until(lambda: feed._tick is None)


async def test_a_new_page_must_load_the_history_and_then_gets_the_start_and_end_of_each_call(feed):
    paper = join(feed)
    assert paper.events == ["start"]
    made = begin(feed)
    await until(lambda: paper.rows)
    assert [(row["id"], row["outcome"], row["agent_id"]) for row in paper.rows] == [(made.id, None, "alice")]
    end(feed, made)
    await until(lambda: len(paper.rows) == 2)
    assert paper.rows[1]["outcome"] == "completed"
    assert paper.frames[1]["data"]["in_progress"] == 1
    assert paper.frames[2]["data"]["in_progress"] == 0


async def test_a_call_within_one_tick_is_one_row(feed):
    paper = join(feed)
    end(feed, begin(feed))
    await quiet(feed)
    assert [row["outcome"] for row in paper.rows] == ["completed"]


async def test_a_denied_call_has_only_an_end(feed):
    paper = join(feed)
    end(feed, call(policy_result="deny", policy_reason="no"), Outcome.DENIED)
    await quiet(feed)
    assert [(row["outcome"], row["policy_reason"]) for row in paper.rows] == [("denied", "no")]
    assert feed.in_progress == 0


async def test_all_pages_get_the_same_bytes_and_they_are_encoded_once(feed, monkeypatch):
    encoded = []
    monkeypatch.setattr(feeding, "frame", lambda *given: encoded.append(1) or b"data: {}\n\n")
    papers = [join(feed) for _ in range(20)]
    begin(feed)
    await quiet(feed)
    assert encoded == [1]
    assert len({id(paper.got[-1]) for paper in papers}) == 1


async def test_nothing_is_encoded_while_no_page_is_open(feed, monkeypatch):
    monkeypatch.setattr(feeding, "frame", None)
    monkeypatch.setattr(feeding, "request_values", None)
    for _ in range(1000):
        end(feed, begin(feed))
    assert feed._tick is None
    assert (feed.in_progress, feed.used["openai/1"]) == (0, 1000)


async def test_the_feed_continues_for_a_time_after_the_last_page_and_then_stops(feed, monkeypatch):
    monkeypatch.setattr(feeding, "LINGERS", 0.05)
    monkeypatch.setattr(feeding, "HEARTBEAT", 0.01)
    paper = join(feed)
    paper.is_open = False
    await until(lambda: feed.pages == 0)
    begin(feed)
    assert feed._pending
    await until(lambda: not feed._on)
    assert [len(kept) for kept in (feed._pending, feed._shown, feed._frames)] == [0, 0, 0]


async def test_of_many_calls_some_are_shown_the_others_are_counted_and_each_shown_row_ends(feed):
    paper = join(feed)
    made = [begin(feed) for _ in range(1000)]
    failed = [end(feed, call(), Outcome.TIMEOUT) for _ in range(3)]
    for one in made:
        end(feed, one)
    await quiet(feed)
    shown = {row["id"]: row["outcome"] for row in paper.rows}
    assert feeding.BURST <= len(shown) < 400
    assert set(shown.values()) == {"completed", "timeout"}
    assert {one.id for one in failed} <= set(shown)
    assert len(shown) + paper.more == 1003


async def test_the_rows_per_second_are_bounded(feed):
    paper = join(feed)
    began = asyncio.get_running_loop().time()
    for _ in range(40):
        for _ in range(100):
            end(feed, begin(feed))
        await asyncio.sleep(0.005)
    await quiet(feed)
    passed = asyncio.get_running_loop().time() - began
    assert len(paper.rows) <= feeding.BURST + passed * feeding.ROWS_PER_SECOND + 1
    assert len(paper.rows) + paper.more == 4000


async def test_a_page_gets_the_end_of_a_call_that_it_loaded_from_the_record(feed):
    early = begin(feed)
    paper = join(feed)
    feed.await_ends([early.id])
    for _ in range(1000):
        end(feed, call())
    end(feed, early)
    await quiet(feed)
    assert early.id in {row["id"] for row in paper.rows}


async def test_a_blocked_page_is_not_written_to_and_starts_over_when_it_reads_again(feed):
    slow, fast = join(feed), join(feed)
    slow.is_busy = True
    for _ in range(feeding.CATCHES_UP + 5):
        end(feed, begin(feed))
        await until(lambda: not feed._pending)
    assert slow.events == ["start"]
    assert len(fast.rows) == feeding.CATCHES_UP + 5
    slow.is_busy = False
    await until(lambda: len(slow.got) > 1)
    assert slow.events == ["start", "start"]
    end(feed, begin(feed))
    await until(lambda: slow.rows)


async def test_a_page_that_is_slow_for_a_moment_misses_nothing(feed):
    paper = join(feed)
    paper.is_busy = True
    for _ in range(3):
        end(feed, begin(feed))
        await until(lambda: not feed._pending)
    paper.is_busy = False
    await until(lambda: len(paper.rows) == 3)
    assert paper.events == ["start"] + ["message"] * 3


async def test_a_page_blocked_for_a_long_time_is_disconnected(feed, monkeypatch):
    monkeypatch.setattr(feeding, "STUCK", 0.0)
    paper = join(feed)
    paper.is_busy = True
    begin(feed)
    await until(lambda: not paper.is_open)
    assert feed.pages == 0


async def test_a_page_that_reconnects_gets_the_events_it_missed(feed):
    first = join(feed)
    end(feed, begin(feed))
    await until(lambda: first.rows)
    last = first.frames[-1]["id"]
    first.is_open = False
    missed = end(feed, begin(feed))
    await quiet(feed)
    again = join(feed, last)
    assert [row["id"] for row in again.rows] == [missed.id]
    assert "start" not in again.events


@pytest.mark.parametrize("last", ["", "x", "0-1", "{epoch}-99", "{epoch}--1", "{epoch}-" + "9" * 5000, "{epoch}-١"])
async def test_a_page_with_an_unknown_last_event_starts_over(feed, last):
    join(feed)
    paper = join(feed, last.replace("{epoch}", feed._epoch))
    assert paper.events == ["start"]


async def test_a_signed_out_page_gets_no_further_events(feed, monkeypatch):
    monkeypatch.setattr(feeding, "HEARTBEAT", 0.01)
    allowed = [True]
    paper = join(feed, may_stay=lambda: allowed[0])
    await until(lambda: b": still here\n\n" in paper.got)
    allowed[0] = False
    await until(lambda: not paper.is_open)


async def test_memory_does_not_grow_with_the_number_of_calls(feed):
    papers = [join(feed) for _ in range(3)]

    async def many(count):
        for number in range(count):
            end(feed, begin(feed))
            if number % 200 == 0:
                await asyncio.sleep(0)
                for paper in papers:
                    paper.got.clear()
        await quiet(feed)

    await many(4000)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    await many(12_000)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < feeding.KEPT_BYTES + 500_000
    assert feed._kept <= feeding.KEPT_BYTES
    assert not feed._shown


async def test_a_call_that_cannot_be_encoded_is_counted_and_the_others_are_shown(feed, monkeypatch, caplog):
    paper = join(feed)
    good, bad = begin(feed), begin(feed)
    bad.agent = "secret"
    await quiet(feed)
    assert [row["id"] for row in paper.rows] == [good.id]
    assert paper.more == 1
    assert "secret" not in caplog.text


async def test_the_counted_labels_are_bounded(feed):
    for number in range(feeding.CREDENTIALS + 10):
        feed.ended(call(credential=f"openai/{number}", attempts=1))
    assert len(feed.used) == feeding.CREDENTIALS
