"""Answers that the operator keeps are bounded, and keeping them never disturbs what the client gets."""

from __future__ import annotations

import gc
import gzip

import pytest
from mitmproxy.test import tflow

from tests.audit.calls import call_of
from wirekey.body import Body
from wirekey.calls import kept_responses
from wirekey.calls.kept_responses import KeptResponse, KeptResponses
from wirekey.operation import Kind, Operation


def passing(data):
    return [data] if data else []


def answered(kept, content, call=None, encoding=""):
    """A flow whose answer passed whole; what the client got of it."""
    flow = tflow.tflow(resp=True)
    flow.response.data.content = None
    flow.response.headers["content-encoding"] = encoding
    flow.response.stream = passing
    kept.begin(flow, call or call_of())
    got = b"".join(piece for data in (content[:7], content[7:], b"") for piece in flow.response.stream(data))
    kept.end(flow)
    return flow, got


def test_the_oldest_answers_go_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr(kept_responses, "ALL_RESPONSES", 100)
    kept = KeptResponses()
    flows = [answered(kept, b"x" * 40)[0] for _ in range(4)]
    assert [flow.response.raw_content for flow in flows] == [None, None, b"x" * 40, b"x" * 40]
    assert kept.size == 80


def test_a_flow_that_is_gone_is_not_held(monkeypatch):
    kept = KeptResponses()
    answered(kept, b"x" * 40)
    gc.collect()
    assert [held() for held, _ in kept.held] == [None]


@pytest.mark.parametrize(
    ("content", "encoding", "shown"),
    [
        (b"an answer in two pieces", "", b"an answer in two pieces"),
        (gzip.compress(b"an answer" * 9), "gzip", b"an answer" * 9),
        (gzip.compress(b"x" * 3_000_000), "gzip", b"x" * 1024 * 1024),
        (b"not gzip at all", "gzip", None),
        (b"of an unknown coding", "bz2", None),
        (b"", "", None),
    ],
    ids=["plain", "gzip", "a long one", "damaged", "unknown", "empty"],
)
def test_what_is_kept_is_decoded_within_bounds_and_the_client_gets_every_byte(content, encoding, shown):
    flow, got = answered(KeptResponses(), content, encoding=encoding)
    assert got == content
    assert flow.response.raw_content == shown


@pytest.mark.parametrize("kind", [Kind.STORAGE, Kind.LISTING])
def test_answers_that_may_hold_a_credential_or_a_file_are_not_kept(kind):
    call = call_of(operation=Operation("files.get", Body.JSON, kind))
    assert answered(KeptResponses(), b"{}", call)[0].response.raw_content is None


def test_a_keeper_that_fails_lets_the_answer_pass(monkeypatch):
    monkeypatch.setattr(KeptResponse, "keep", lambda *_: 1 / 0)
    flow, got = answered(KeptResponses(), b"an answer")
    assert (got, flow.response.raw_content) == (b"an answer", None)
