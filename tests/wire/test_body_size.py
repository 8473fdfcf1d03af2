"""The size of a body by its head is what mitmproxy's own function says, for every combination of heads."""

import itertools

import pytest
from mitmproxy.http import Headers, Request, Response
from mitmproxy.net.http.http1.read import expected_http_body_size as stock_size

from wirekey.wire import header_lookup
from wirekey.wire.http1 import expected_body_size

LENGTHS = [
    (),
    *((length,) for length in (b"0", b"5", b"007", b"00", b"+5", b"-5", b"5 ", b"", b"x", b"1_0", b"\xb2", b"9" * 30)),
    (b"5", b"5"),
    (b"5", b"6"),
]
ENCODINGS = [(), (b"chunked",), (b"gzip, chunked",), (b"gzip",), (b"identity",), (b"x",), (b"chunked", b"chunked")]
METHODS = ["POST", "GET", "HEAD", "head", "CONNECT", "OPTIONS", "PUT"]
STATUSES = [None, 100, 101, 199, 200, 204, 206, 304, 404, 500, 600]


@pytest.fixture(scope="module", autouse=True)
def installed():
    header_lookup.install()


def headers(lengths, encodings):
    fields = [(b"Content-Length", value) for value in lengths] + [(b"transfer-encoding", value) for value in encodings]
    return Headers(fields)


def outcome(size, *messages):
    try:
        return size(*messages)
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("method", METHODS)
def test_the_size_is_that_of_mitmproxy(method, status):
    for lengths, encodings in itertools.product(LENGTHS, ENCODINGS):
        request = Request.make(method, "http://host/")
        messages = [request]
        if status is None:
            request.headers = headers(lengths, encodings)
        else:
            response = Response.make(status)
            response.headers = headers(lengths, encodings)
            messages.append(response)
        assert outcome(expected_body_size, *messages) == outcome(stock_size, *messages), (lengths, encodings)
