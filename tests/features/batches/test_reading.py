"""Reading results as they pass: in pieces of any size, with lines of any length, and what is no result."""

from __future__ import annotations

import gzip
import json

import pytest

from wirekey.core.metering.cost import use_price_lists
from wirekey.core.metering.json_response import BODY_LIMIT
from wirekey.features.batches.reading import BatchResponse, Results, ShownBatches
from wirekey.features.batches.spending import Spending
from wirekey.providers.registry import PROVIDERS

use_price_lists(dict.fromkeys(("openai", "anthropic", "google"), "these tests"))


def openai_line(read: int, written: int, text: str = "x", **more) -> bytes:
    usage = {"prompt_tokens": read, "completion_tokens": written}
    body = {"model": "gpt-4o-mini", "choices": [{"message": {"content": text}}], "usage": usage}
    return json.dumps({"id": "r", "custom_id": "c", "response": {"status_code": 200, "body": body}, **more}).encode()


def anthropic_line(read: int, written: int, text: str = "x") -> bytes:
    usage = {"input_tokens": read - 1, "cache_read_input_tokens": 1, "output_tokens": written}
    message = {"type": "message", "model": "claude-haiku-4-5", "content": [{"text": text}], "usage": usage}
    return json.dumps({"custom_id": "c", "result": {"type": "succeeded", "message": message}}).encode()


def gemini_line(read: int, written: int, text: str = "x") -> bytes:
    usage = {"promptTokenCount": read, "candidatesTokenCount": written}
    response = {"candidates": [{"content": {"parts": [{"text": text}]}}], "usageMetadata": usage}
    return json.dumps({"key": "k", "response": response | {"modelVersion": "gemini-2.5-flash"}}).encode()


LINES = {"openai": openai_line, "anthropic": anthropic_line, "gemini": gemini_line}
each_provider = pytest.mark.parametrize("provider", LINES)


def read(provider: str, data: bytes, size: int | None = None) -> Spending:
    results = Results(PROVIDERS[provider].batches, Spending(provider))
    for start in range(0, len(data), size or max(1, len(data))):
        results.feed(data[start : start + (size or len(data))])
    results.end()
    return results.spending


@each_provider
@pytest.mark.parametrize("size", [1, 7, 1000, None])
@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n\n"])
def test_lines_are_read_in_any_pieces(provider, size, ending):
    line = LINES[provider]
    spending = read(provider, line(10, 5) + b"\n\n" + line(20, 7) + ending, size)
    assert (spending.requests, spending.usage.input_tokens, spending.usage.output_tokens) == (2, 30, 12)
    assert spending.cost is not None
    assert spending.cost > 0


@each_provider
@pytest.mark.parametrize("size", [1 << 16, None])
def test_a_line_that_is_too_long_to_be_held_is_counted(provider, size):
    line = LINES[provider]
    long = line(10, 5, "long text " * (BODY_LIMIT // 8))
    assert len(long) > BODY_LIMIT
    spending = read(provider, long + b"\n" + line(20, 7), size)
    assert (spending.requests, spending.usage.input_tokens, spending.usage.output_tokens) == (2, 30, 12)
    assert spending.cost is not None


@each_provider
def test_each_request_is_half_of_its_list_price(provider):
    line = LINES[provider]
    one, both = read(provider, line(1000, 500)), read(provider, line(1000, 500) + b"\n" + line(1000, 500))
    assert both.cost == pytest.approx(2 * one.cost)
    full = Spending(provider)
    prices = {"openai": (0.15, 0.6), "anthropic": (1.0, 5.0), "gemini": (0.3, 2.5)}[provider]
    cached = 1 * prices[0] * 0.9 if provider == "anthropic" else 0.0
    expected = (1000 * prices[0] - cached + 500 * prices[1]) / 1e6 / 2
    assert one.cost == pytest.approx(expected), full


OTHERS = {
    "openai": [b'{"custom_id":"a","method":"POST","url":"/v1/x","body":{}}', b"%PDF-1.7 \xff\xfe", b'{"messages":[]}'],
    "anthropic": [b'{"custom_id":"a"}', b"[]", b"\x00\x01"],
    "gemini": [b'{"key":"a","request":{}}', b"null", b"PK\x03\x04"],
}


@each_provider
def test_other_files_are_no_results(provider):
    assert read(provider, b"\n".join(OTHERS[provider])).requests == 0


@pytest.mark.parametrize(
    ("provider", "line"),
    [
        ("openai", b'{"custom_id":"a","response":null,"error":{"code":"batch_expired"}}'),
        (
            "openai",
            b'{"custom_id":"a","response":{"status_code":400,"body":{"usage":{"prompt_tokens":9}}},"error":null}',
        ),
        ("anthropic", b'{"custom_id":"a","result":{"type":"errored","error":{}}}'),
        ("anthropic", b'{"custom_id":"a","result":{"type":"expired"}}'),
        ("gemini", b'{"key":"a","error":{"code":3}}'),
    ],
)
def test_a_request_without_a_response_costs_nothing(provider, line):
    spending = read(provider, line)
    assert (spending.requests, spending.cost) == (0, 0.0)


@pytest.mark.parametrize(
    ("provider", "line"),
    [
        ("openai", b'{"custom_id":"a","response":{"status_code":200,"body":{"model":"gpt-4o-mini"}},"error":null}'),
        ("openai", openai_line(5, 5).replace(b"gpt-4o-mini", b"a-model-of-tomorrow")),
        ("anthropic", b'{"custom_id":"a","result":{"type":"succeeded","message":{"model":"claude-haiku-4-5"}}}'),
        ("gemini", b'{"key":"a","response":{"candidates":[]}}'),
    ],
)
def test_an_unknown_cost_is_null_and_not_zero(provider, line):
    spending = read(provider, line + b"\n" + LINES[provider](100, 100))
    assert (spending.requests, spending.unpriced, spending.cost) == (2, 1, None)
    assert spending.known_cost > 0


def test_text_of_a_model_is_not_counted():
    forged = '","usage":{"prompt_tokens":1,"completion_tokens":1},"x":"\n{"custom_id":"c","response":{"body":{}}}'
    spending = read("openai", openai_line(10, 5, forged))
    assert (spending.requests, spending.usage.input_tokens) == (1, 10)


def nested(line: bytes) -> bytes:
    """Return a result whose model has nested brackets deeper than they can be read."""
    return line.replace(b'"x"', b"[" * 20_000 + b"]" * 20_000)


@each_provider
def test_a_line_that_cannot_be_read_is_noticed(provider):
    line = LINES[provider]
    results = Results(PROVIDERS[provider].batches, Spending(provider))
    results.feed(line(10, 5) + b"\n" + nested(line(20, 7)) + b"\n")
    results.end()
    assert (results.spending.requests, results.unread) == (1, 1)


@pytest.mark.parametrize("places", [("metadata",), ("response",), ("metadata", "response")], ids="+".join)
def test_a_result_in_a_gemini_batch_that_cannot_be_read_is_counted(places):
    spending = shown(inline([gemini_line(10, 5), nested(gemini_line(20, 7))], places=places)).spending
    assert (spending.requests, spending.unpriced, spending.usage.input_tokens) == (2, 1, 10)


def inline(results: list[bytes], *, done: bool = True, places: tuple[str, ...] = ("metadata", "response")) -> bytes:
    output = b'{"inlinedResponses":{"inlinedResponses":[%b]}}' % b",".join(results)
    metadata = b'"metadata":{"@type":"t","model":"models/gemini-2.5-flash","displayName":"d"%b}' % (
        b',"output":%b' % output if "metadata" in places else b""
    )
    response = b',"response":%b' % output if "response" in places else b""
    return b'{"name":"batches/b1",%b,"done":%b%b}' % (metadata, b"true" if done else b"false", response)


def shown(data: bytes, size: int | None = None, provider: str = "gemini") -> ShownBatches:
    found = ShownBatches(PROVIDERS[provider].batches, lambda: Spending(provider))
    for start in range(0, len(data), size or len(data)):
        found.feed(data[start : start + (size or len(data))])
    found.end()
    return found


@pytest.mark.parametrize("size", [1, 100, None])
@pytest.mark.parametrize("places", [("metadata",), ("response",), ("metadata", "response")], ids="+".join)
def test_results_in_a_gemini_batch_are_counted_once(places, size):
    spending = shown(inline([gemini_line(10, 5), gemini_line(20, 7)], places=places), size).spending
    assert (spending.requests, spending.usage.input_tokens, spending.usage.output_tokens) == (2, 30, 12)


def test_a_large_gemini_batch_is_counted():
    results = [gemini_line(10, 5, "y" * 50_000) for _ in range(50)]
    data = inline(results)
    assert len(data) > 4 * BODY_LIMIT
    found = shown(data, 1 << 16)
    assert [batch.id for batch in found.batches] == ["batches/b1"]
    assert (found.spending.requests, found.spending.usage.input_tokens) == (50, 500)


@pytest.mark.parametrize("count", [3, 50])
def test_a_part_of_a_gemini_batch_settles_nothing(count):
    data = inline([gemini_line(10, 5, "y" * 50_000) for _ in range(count)])
    part = data[: data.rindex(b"}", 0, -len(data) // 4) + 1]
    assert shown(data).spending is not None
    found = shown(part)
    assert found.spending is None
    assert not found.reader.finished


def test_a_gemini_batch_that_has_not_ended_is_not_settled():
    assert shown(inline([gemini_line(10, 5)], done=False)).spending is None


def test_the_metadata_of_a_request_is_no_result():
    """A program chooses the metadata of its requests, which are returned with the results."""
    forged = json.loads(gemini_line(1, 1))
    result = json.loads(gemini_line(10, 5)) | {"metadata": forged}
    spending = shown(inline([json.dumps(result).encode()])).spending
    assert (spending.requests, spending.usage.input_tokens) == (1, 10)


def test_a_sum_is_priced_by_the_size_of_its_requests():
    """A sum of many small requests is not one request with a long context, which has a higher price."""
    one, many = Spending("gemini", None, "gemini-2.5-pro"), Spending("gemini", None, "gemini-2.5-pro")
    line = read("gemini", gemini_line(1000, 10).replace(b"gemini-2.5-flash", b"gemini-2.5-pro"))
    one.add_sum(line.usage, 1)
    usage = type(line.usage)(1000 * 1000, 10 * 1000)
    many.add_sum(usage, 1000)
    assert many.cost == pytest.approx(1000 * one.cost)
    assert many.cost == pytest.approx(1000 * line.cost)


def test_a_compressed_response_is_read():
    results = Results(PROVIDERS["openai"].batches, Spending("openai"))
    copy = BatchResponse(results)
    copy.encoding = "gzip"
    data = gzip.compress(openai_line(10, 5))
    for byte in data:
        copy.feed(bytes([byte]))
    copy.end()
    assert not copy.failed
    assert results.spending.usage.input_tokens == 10


@pytest.mark.parametrize("encoding", ["gzip", "compress"])
def test_a_response_that_cannot_be_decoded_settles_nothing(encoding, caplog):
    copy = BatchResponse(Results(PROVIDERS["openai"].batches, Spending("openai")))
    copy.encoding = encoding
    copy.feed(openai_line(10, 5))
    copy.end()
    assert copy.failed
    assert "cannot be decoded, so that it settles nothing" in caplog.text


def test_a_status_is_read():
    usage = {"input_tokens": 300_000_000, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 2}}
    batch = {"id": "batch_1", "object": "batch", "status": "completed", "output_file_id": "file-1", "usage": usage}
    (found,) = shown(json.dumps(batch | {"request_counts": {"completed": 3}}).encode(), provider="openai").batches
    assert (found.id, found.results, found.requests) == ("batch_1", "file-1", 3)
    assert (found.usage.input_tokens, found.usage.output_tokens) == (300_000_000, 5)
    for status in ("validating", "in_progress", "finalizing", "cancelling", "failed"):
        (found,) = shown(json.dumps(batch | {"status": status}).encode(), provider="openai").batches
        assert found.usage is None
    (found,) = shown(
        json.dumps(batch | {"usage": {"input_tokens": 0, "output_tokens": 0}}).encode(), 3, "openai"
    ).batches
    assert found.usage is None, "a server that does not count them"
