"""The Agent Client Protocol without I/O: what is sent, and what each message of a program means."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirekey.features.local_programs import connection
from wirekey.features.local_programs.connection import (
    Activity,
    Connection,
    Failed,
    ProgramFault,
    Ready,
    SessionOpened,
    Stopped,
    TextPiece,
    outcome,
)


def line(**message):
    return json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"


def update(kind, **more):
    return line(method="session/update", params={"sessionId": "s", "update": {"sessionUpdate": kind, **more}})


def says(text, kind="agent_message_chunk"):
    return update(kind, content={"type": "text", "text": text})


def test_each_request_is_one_line_with_a_number_of_its_own():
    sender = Connection(name="wirekey", version="1.2")
    sent = [sender.initialize(), sender.open_session("/w"), sender.prompt("s", "two\nlines"), sender.cancel("s")]
    assert all(data.count(b"\n") == 1 and data.endswith(b"\n") for data in sent)
    found = [json.loads(data) for data in sent]
    assert [message.get("id") for message in found] == [0, 1, 2, None]
    assert found[0]["params"] == {
        "protocolVersion": 1,
        "clientCapabilities": {},
        "clientInfo": {"name": "wirekey", "version": "1.2"},
    }
    assert found[1]["params"] == {"cwd": "/w", "mcpServers": []}
    assert found[2]["params"] == {"sessionId": "s", "prompt": [{"type": "text", "text": "two\nlines"}]}
    assert found[3] == {"jsonrpc": "2.0", "method": "session/cancel", "params": {"sessionId": "s"}}


UPDATES = [
    (says("Hi"), [TextPiece("s", "Hi")]),
    (says("hm", "agent_thought_chunk"), [TextPiece("s", "hm", True)]),
    (says(""), []),
    (update("agent_message_chunk", content={"type": "image", "data": ""}), []),
    (update("agent_message_chunk", content="Hi"), []),
    (update("tool_call", toolCallId="1"), [Activity("tool_call")]),
    (update("tool_call_update", toolCallId="1"), [Activity("tool_call_update")]),
    (update("plan", entries=[]), [Activity("plan")]),
    (update("user_message_chunk", content={"type": "text", "text": "Hi"}), []),
    (update("of_the_future"), []),
    (line(method="session/update", params=[]), []),
    (line(method="session/update"), []),
    (line(method="of/the/future", params={}), []),
    (line(id=77, result={}), []),
    (b"Loaded cached credentials.\n", []),
    (b"\n", []),
]


@pytest.mark.parametrize(("data", "events"), UPDATES, ids=range(len(UPDATES)))
def test_an_update_is_text_or_reasoning_or_counted(data, events):
    assert Connection().feed(data) == events


RESULTS = [
    (line(id=0, result={"protocolVersion": 1}), Ready()),
    (line(id=1, result={"sessionId": "abc"}), SessionOpened("abc")),
    (line(id=2, result={"stopReason": "end_turn"}), Stopped("end_turn")),
    (line(id=1, error={"code": -32000, "message": "x"}), Failed(ProgramFault.LOGIN, "it wants its user to log in")),
    (
        line(id=1, error={"code": 5, "message": "Authentication needed"}),
        Failed(ProgramFault.LOGIN, "it wants its user to log in"),
    ),
    (
        line(id=2, error={"code": -32603, "message": "canary"}),
        Failed(ProgramFault.PROGRAM, "it answered with error -32603"),
    ),
    (line(id=2, error={"code": "canary"}), Failed(ProgramFault.PROGRAM, "it answered with error without a code")),
]


@pytest.mark.parametrize(("data", "event"), RESULTS, ids=range(len(RESULTS)))
def test_a_response_belongs_to_its_request(data, event):
    asked = Connection()
    asked.initialize()
    asked.open_session("/w")
    asked.prompt("s", "Hi")
    assert asked.feed(data) == [event]
    assert asked.feed(data) == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (line(id=0, result={"protocolVersion": 2}), "version 2 "),
        (line(id=0, result={"protocolVersion": "canary"}), "version none "),
        (line(id=0, result=None), "version none "),
    ],
)
def test_another_version_of_the_protocol_is_refused_by_its_number(data, words):
    asked = Connection()
    asked.initialize()
    (event,) = asked.feed(data)
    assert event.fault is ProgramFault.VERSION
    assert words in event.detail


ALLOW, REJECT = {"optionId": "y", "kind": "allow_once"}, {"optionId": "n", "kind": "reject_once"}
ALWAYS = {"optionId": "a", "kind": "allow_always"}


@pytest.mark.parametrize(
    ("options", "accepting", "otherwise"),
    [
        ([ALLOW, REJECT], "y", "n"),
        ([ALWAYS, ALLOW], "y", None),
        ([ALWAYS, REJECT], "n", "n"),
        ([ALWAYS], None, None),
        ([], None, None),
        (None, None, None),
        (["canary", {"kind": "allow_once"}, {"kind": "reject_once", "optionId": 1}], None, None),
    ],
)
def test_a_question_for_permission_is_answered_by_the_setting_and_never_for_always(options, accepting, otherwise):
    for auto_accept, wanted in ((True, accepting), (False, otherwise)):
        found = outcome(options, auto_accept=auto_accept)
        assert found == ({"outcome": "selected", "optionId": wanted} if wanted else {"outcome": "cancelled"})


@pytest.mark.parametrize("method", ["fs/read_text_file", "fs/write_text_file", "terminal/create", "of/the/future"])
def test_every_other_request_of_the_program_is_refused(method):
    asked = Connection(auto_accept=True)
    assert asked.feed(line(id="7", method=method, params={"path": "/etc/passwd"})) == [Activity("request")]
    answer = json.loads(asked.replies)
    assert (answer["id"], answer["error"]["code"]) == ("7", -32601)


def test_a_question_for_permission_has_an_answer_with_its_id():
    asked = Connection()
    asked.feed(line(id=9, method="session/request_permission", params={"options": [ALLOW, REJECT]}))
    assert json.loads(asked.replies) == {
        "jsonrpc": "2.0",
        "id": 9,
        "result": {"outcome": {"outcome": "selected", "optionId": "n"}},
    }


def test_what_is_no_json_breaks_the_connection():
    broken = Connection()
    (event,) = broken.feed(b'{"jsonrpc": canary}\n' + says("Hi"))[:1]
    assert event.fault is ProgramFault.PROTOCOL
    assert "canary" not in event.detail
    assert broken.feed(says("Hi")) == []


def test_a_message_without_end_breaks_the_connection(monkeypatch):
    monkeypatch.setattr(connection, "LONGEST_LINE", 100)
    endless = Connection()
    assert endless.feed(b"{" * 60) == []
    (event,) = endless.feed(b"{" * 60)
    assert event.fault is ProgramFault.PROTOCOL
    (event,) = Connection().feed(b"{" * 200 + b"\n")
    assert event.fault is ProgramFault.PROTOCOL


@given(st.lists(st.integers(1, 60), max_size=40))
def test_the_events_do_not_depend_on_how_the_bytes_are_cut(cuts):
    whole = b"".join([*(data for data, _ in UPDATES), line(id=0, result={"protocolVersion": 1}), says("é☃")])
    expected = Connection()
    expected.initialize()
    pieces, start = [], 0
    for cut in cuts:
        pieces.append(whole[start : start + cut])
        start += cut
    found = Connection()
    found.initialize()
    events = [event for piece in [*pieces, whole[start:]] for event in found.feed(piece)]
    assert events == expected.feed(whole)


@given(st.binary(max_size=300))
def test_nothing_that_a_program_sends_raises(data):
    found = Connection()
    found.initialize()
    found.feed(data)
    found.feed(b'{"id":0,' + data + b"\n")
