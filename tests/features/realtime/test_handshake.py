"""A WebSocket is opened in one way only, and no key leaves in a subprotocol."""

import pytest

from wirekey.core.body import Body
from wirekey.core.calls.services import Services
from wirekey.core.errors import Refusal
from wirekey.core.operation import Kind, Operation
from wirekey.core.subprotocol_keys import keys_in, without_protocol_keys
from wirekey.features.realtime.conversations import CarriedConversations
from wirekey.features.realtime.handshake import (
    Compression,
    accept_value,
    check_request,
    deflate_of,
)

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HEADERS = {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-version": "13", "sec-websocket-key": KEY}
RESPONSE = {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-accept": accept_value(KEY)}


def test_the_accept_value_is_that_of_the_standard():
    assert accept_value(KEY) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_an_opening_request_is_accepted():
    check_request("GET", "HTTP/1.1", HEADERS)
    check_request("GET", "HTTP/1.1", HEADERS | {"connection": "keep-alive, Upgrade"})


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"connection": "keep-alive"}, "Connection header"),
        ({"sec-websocket-version": "8"}, "Version"),
        ({"sec-websocket-key": "short"}, "Key"),
        ({"sec-websocket-key": f"{KEY}, {KEY}"}, "Key"),
        ({"content-length": "5"}, "no body"),
        ({"transfer-encoding": "chunked"}, "no body"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_an_opening_request_that_could_be_read_in_two_ways_is_refused(changed, says):
    with pytest.raises(Refusal, match=r".*") as refused:
        check_request("GET", "HTTP/1.1", HEADERS | changed)
    assert (refused.value.status, says in refused.value.message) == (400, True)


@pytest.mark.parametrize(("method", "version"), [("POST", "HTTP/1.1"), ("GET", "HTTP/1.0"), ("GET", "HTTP/2.0")])
def test_only_a_get_over_http_1_1_opens_a_websocket(method, version):
    with pytest.raises(Refusal):
        check_request(method, version, HEADERS)


OFFER = {"sec-websocket-extensions": "permessage-deflate; client_max_window_bits"}


@pytest.mark.parametrize(
    ("request_more", "response_more", "found"),
    [
        ({}, {}, None),
        (OFFER, {}, None),
        (OFFER, {"sec-websocket-extensions": "permessage-deflate"}, Compression()),
        (
            OFFER,
            {"sec-websocket-extensions": "permessage-deflate; client_max_window_bits=12; server_no_context_takeover"},
            Compression(12, 15, server_fresh=True),
        ),
        ({"sec-websocket-protocol": "realtime, b"}, {"sec-websocket-protocol": "realtime"}, None),
    ],
)
def test_a_response_that_fits_is_accepted_with_its_compression(request_more, response_more, found):
    assert deflate_of(HEADERS | request_more, RESPONSE | response_more) == found


@pytest.mark.parametrize(
    ("request_more", "response_more"),
    [
        ({}, {"sec-websocket-accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOa="}),
        ({}, {"upgrade": "h2c"}),
        ({}, {"connection": "close"}),
        ({}, {"sec-websocket-protocol": "not-offered"}),
        ({}, {"sec-websocket-extensions": "permessage-deflate"}),
        (OFFER, {"sec-websocket-extensions": "x-webkit-deflate-frame"}),
        (OFFER, {"sec-websocket-extensions": "permessage-deflate, permessage-deflate"}),
        (OFFER, {"sec-websocket-extensions": "permessage-deflate; client_max_window_bits=99"}),
        (OFFER, {"sec-websocket-extensions": "permessage-deflate; client_max_window_bits=x"}),
    ],
)
def test_a_response_that_does_not_fit_the_request_is_refused(request_more, response_more):
    with pytest.raises(Refusal) as refused:
        deflate_of(HEADERS | request_more, RESPONSE | response_more)
    assert refused.value.status == 502


CONNECT = Operation("responses.connect", Body.WEBSOCKET, Kind.INFERENCE)


@pytest.mark.parametrize(
    ("operation", "status", "expected"),
    [
        (CONNECT, 403, 426),
        (CONNECT, 400, 426),
        (CONNECT, 503, 426),
        (CONNECT, 429, 429),
        (CONNECT, 401, 401),
        (Operation("realtime", Body.WEBSOCKET, Kind.INFERENCE), 403, 403),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_program_that_can_use_http_is_sent_there(operation, status, expected):
    refusal = CarriedConversations(Services()).refusal_of(operation, Refusal(status, "denied", "No."))
    assert (refusal.status, refusal.code) == (expected, "denied")
    assert refusal.message == ("No. Use HTTP." if status != expected else "No.")


def test_keys_and_accounts_are_removed_from_subprotocols():
    value = b"realtime, openai-insecure-api-key.wk_abc, openai-organization.org-1, openai-project.p, b"
    assert keys_in(value.decode()) == ["wk_abc"]
    fields = ((b"Sec-WebSocket-Protocol", value), (b"X-Other", b"openai-insecure-api-key.kept"))
    assert without_protocol_keys(fields) == ((b"Sec-WebSocket-Protocol", b"realtime, b"), fields[1])
    assert without_protocol_keys([(b"sec-websocket-protocol", b"OpenAI-Insecure-API-Key.wk_a")]) == ()
    kept = ((b"Sec-WebSocket-Protocol", b"realtime,b"),)
    assert without_protocol_keys(kept) == kept
