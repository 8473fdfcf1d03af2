import pytest
from botocore.eventstream import ChecksumMismatch, EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from wirekey_simulator.eventstream import exception, garbled, message


def read(data):
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return list(buffer)


@given(st.lists(st.binary(max_size=2000), max_size=5))
def test_botocore_reads_what_was_framed(payloads):
    events = read(b"".join(message("chunk", payload) for payload in payloads))
    assert [event.payload for event in events] == payloads


def test_an_event_has_the_headers_of_bedrock():
    (event,) = read(message("contentBlockDelta", b"{}"))
    assert event.headers == {
        ":event-type": "contentBlockDelta",
        ":content-type": "application/json",
        ":message-type": "event",
    }
    assert list(event.headers) == [":event-type", ":content-type", ":message-type"]


def test_an_exception_has_its_kind():
    (event,) = read(exception("throttlingException", b'{"message":"Too many"}'))
    assert event.headers[":message-type"] == "exception"
    assert event.headers[":exception-type"] == "throttlingException"
    assert event.to_response_dict()["status_code"] == 400


def test_a_garbled_event_has_a_wrong_checksum_and_the_next_one_is_whole():
    data = garbled("chunk", b"{}")
    with pytest.raises(ChecksumMismatch):
        read(data)
    assert len(data) == len(message("chunk", b"{}"))
