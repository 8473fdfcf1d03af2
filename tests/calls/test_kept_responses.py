"""Responses kept for the operator are bounded, and keeping them never changes what the client gets."""

from __future__ import annotations

import gc
import gzip

import pytest
from mitmproxy.test import tflow

from tests.support.recorded_calls import call_of
from wirekey.core.body import Body
from wirekey.core.calls import kept_responses
from wirekey.core.calls.kept_responses import KeptResponse, KeptResponses
from wirekey.core.operation import Kind, Operation


def passing(data):
    return [data] if data else []


def pass_response(kept, content, call=None, encoding=""):
    """Pass a whole response through a flow; return the flow and the bytes that the client got."""
    flow = tflow.tflow(resp=True)
    flow.response.data.content = None
    flow.response.headers["content-encoding"] = encoding
    flow.response.stream = passing
    kept.begin(flow, call or call_of())
    got = b"".join(piece for data in (content[:7], content[7:], b"") for piece in flow.response.stream(data))
    kept.end(flow)
    return flow, got


def test_the_oldest_responses_are_dropped_above_the_limit(monkeypatch):
    monkeypatch.setattr(kept_responses, "ALL_RESPONSES", 100)
    kept = KeptResponses()
    flows = [pass_response(kept, b"x" * 40)[0] for _ in range(4)]
    assert [flow.response.raw_content for flow in flows] == [None, None, b"x" * 40, b"x" * 40]
    assert kept.size == 80


def test_a_flow_that_is_gone_is_not_held(monkeypatch):
    kept = KeptResponses()
    pass_response(kept, b"x" * 40)
    gc.collect()
    assert [held() for held, _ in kept.held] == [None]


@pytest.mark.parametrize(
    ("content", "encoding", "shown"),
    [
        (b"a response in two pieces", "", b"a response in two pieces"),
        (gzip.compress(b"a response" * 9), "gzip", b"a response" * 9),
        (gzip.compress(b"x" * 3_000_000), "gzip", b"x" * 1024 * 1024),
        (b"not gzip at all", "gzip", None),
        (b"of an unknown coding", "bz2", None),
        (b"", "", None),
    ],
    ids=["plain", "gzip", "a long one", "damaged", "unknown", "empty"],
)
def test_a_kept_response_is_decoded_within_bounds_and_the_client_gets_every_byte(content, encoding, shown):
    flow, got = pass_response(KeptResponses(), content, encoding=encoding)
    assert got == content
    assert flow.response.raw_content == shown


@pytest.mark.parametrize("kind", [Kind.STORAGE, Kind.LISTING])
def test_responses_that_may_hold_a_credential_or_a_file_are_not_kept(kind):
    call = call_of(operation=Operation("files.get", Body.JSON, kind))
    assert pass_response(KeptResponses(), b"{}", call)[0].response.raw_content is None


def test_the_response_passes_if_keeping_it_fails(monkeypatch):
    monkeypatch.setattr(KeptResponse, "keep", lambda *_: 1 / 0)
    flow, got = pass_response(KeptResponses(), b"a response")
    assert (got, flow.response.raw_content) == (b"a response", None)
