"""Streams and responses of an upstream with bytes that were changed, cut and repeated by chance.

Nothing raises, any cut gives the same bytes, and a stream holds no more than its bounds. `WIREKEY_MUTATED_BYTES` is how
many bytes are changed; the full count is a million:

    WIREKEY_MUTATED_BYTES=1000000 ./run.sh test tests/features/translation/test_mutated_streams.py
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
from dataclasses import replace
from importlib import import_module

import msgspec
import pytest

from tests.features.translation import response_forms
from tests.features.translation.streams import upstream_bytes
from tests.features.translation.test_pairs import ANSWERED, PAIRS, reply
from wirekey.features.translation.responses import StreamTranslator, translate_response

MUTATED_BYTES = int(os.environ.get("WIREKEY_MUTATED_BYTES", "20000"))
PARTS = 4
"""Tests that share the bytes, so that each has a fair time."""
REPEATED = 1 if MUTATED_BYTES < 1_000_000 else 20
"""Events of each pair of formats that are repeated."""
LIMIT = 16 * 1024
"""The limits of what a stream holds, in this test."""
LIMITS = {
    "features.translation.gemini.write_response": "MAX_ARGUMENTS",
    "features.translation.responses": "MAX_WAITING",
    "features.translation.claude": "MAX_KEPT_REASONING",
    "features.translation.openai_chat.write_response": "MAX_INFLATED_BYTES",
    "core.metering.sse": "EVENT_LIMIT",
    "core.metering.eventstream": "FRAME_LIMIT",
}
HELD = 20 * LIMIT
"""What a stream may hold at most: the limits, with the ends of an event that is too long, 64 KiB each."""
LONG = 3 * HELD


class Mutations:
    """Changes bytes by chance, and counts them."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)
        self.count = 0

    def mutated(self, data: bytes) -> bytes:
        """Return the data with up to 40 bytes replaced, removed or inserted, and now and then a part repeated."""
        found = bytearray(data)
        if self.random.random() < 0.2 and len(found) > 2:
            start, end = sorted(self.random.sample(range(len(found)), 2))
            found[end:end] = found[start:end] * self.random.randrange(1, 4)
        for _ in range(self.random.randrange(1, 40)):
            at = self.random.randrange(len(found) + 1)
            kind = self.random.random()
            if kind < 0.6:
                found[at : at + 1] = bytes((self.byte(),))
            elif kind < 0.8:
                del found[at : at + 1]
            else:
                found.insert(at, self.byte())
            self.count += 1
        return bytes(found)

    def byte(self) -> int:
        """Return a byte: any, or one that JSON and event streams have a use for."""
        return self.random.choice(b'{}[]",:\\\n\r 0-9et') if self.random.random() < 0.5 else self.random.randrange(256)

    def pieces(self, data: bytes) -> list[bytes]:
        """Return the data cut after each server-sent event, as most streams arrive, or anywhere."""
        if self.random.random() < 0.3:
            return re.findall(rb".*?\n\n|.+$", data, re.DOTALL)
        places = sorted(self.random.randrange(len(data) + 1) for _ in range(self.random.randrange(8)))
        return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def translator_of(client, upstream, feature):
    return StreamTranslator(replace(reply(client, upstream, feature, stream=True), max_held=LIMIT))


def held_by(translator):
    """Return the bytes of memory that a translator holds, without the reply, which is the request's."""
    seen, waiting, found = {id(translator.writer.reply)}, [translator], 0
    while waiting:
        value = waiting.pop()
        if id(value) in seen or isinstance(value, type):
            continue
        seen.add(id(value))
        if isinstance(value, msgspec.Struct):  # msgspec's own size is wrong for some
            found += 16 + 8 * len(value.__struct_fields__)
        else:
            found += len(bytes(value)) if isinstance(value, msgspec.Raw) else sys.getsizeof(value)
        if isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list | tuple | set | frozenset):
            waiting += value
        elif isinstance(value, msgspec.Struct):
            waiting += [getattr(value, name) for name in value.__struct_fields__]
        elif not isinstance(value, str | bytes | bytearray | int | float | bool | None):
            waiting += vars(value).values() if hasattr(value, "__dict__") else ()
            waiting += [getattr(value, name) for name in getattr(value, "__slots__", ()) if hasattr(value, name)]
    return found


@pytest.fixture
def low_limits(monkeypatch):
    for module, name in LIMITS.items():
        monkeypatch.setattr(import_module(f"wirekey.{module}"), name, LIMIT)


@pytest.mark.usefixtures("low_limits")
@pytest.mark.parametrize("part", range(PARTS))
def test_changed_bytes_of_a_stream_never_raise_and_never_exceed_a_bound(part):
    mutations = Mutations(f"streams {part}")
    while mutations.count < MUTATED_BYTES * 3 // (4 * PARTS):
        client, upstream, feature = mutations.random.choice(ANSWERED)
        data = mutations.mutated(upstream_bytes(upstream, response_forms.events(upstream, feature)))
        whole, cut = translator_of(client, upstream, feature), translator_of(client, upstream, feature)
        expected = whole.feed(data) + whole.end()
        assert b"".join(map(cut.feed, mutations.pieces(data))) + cut.end() == expected
        assert held_by(cut) < HELD


@pytest.mark.parametrize("part", range(PARTS))
def test_changed_bytes_of_a_response_never_raise(part):
    mutations = Mutations(f"responses {part}")
    while mutations.count < MUTATED_BYTES // (4 * PARTS):
        client, upstream, feature = mutations.random.choice(ANSWERED)
        body = mutations.mutated(json.dumps(response_forms.whole(upstream, feature)).encode())
        json.loads(translate_response(200, body, reply(client, upstream, feature)).body)


@pytest.mark.usefixtures("low_limits")
@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_a_stream_that_repeats_one_of_its_events_holds_no_more_than_its_bounds(client, upstream):
    chance = random.Random(f"{client} {upstream}")
    for _ in range(REPEATED):
        feature = chance.choice(list(response_forms.FEATURES))
        events = response_forms.events(upstream, feature)
        place = chance.randrange(len(events))
        translator = translator_of(client, upstream, feature)
        translator.feed(upstream_bytes(upstream, events[: place + 1]))
        again = upstream_bytes(upstream, events[place : place + 1])
        for _ in range(LONG // len(again)):
            translator.feed(again)
            if translator.ended:
                break
        assert held_by(translator) < HELD
