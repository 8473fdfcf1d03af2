from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.call import Call
from wirekey.core.call_events import CallEvents

if TYPE_CHECKING:
    import pytest


class Noted:
    def __init__(self) -> None:
        self.heard: list[tuple[str, Call]] = []

    def began(self, call: Call) -> None:
        self.heard.append(("began", call))

    def ended(self, call: Call) -> None:
        self.heard.append(("ended", call))


class Failing:
    def began(self, call: Call) -> None:
        raise ValueError(call.path)

    ended = began


def test_each_watcher_hears_of_each_call_as_it_begins_and_as_it_ends() -> None:
    activity, first, second, call = CallEvents(), Noted(), Noted(), Call()
    activity.observers += [first, second]
    activity.began(call)
    activity.ended(call)
    assert first.heard == second.heard == [("began", call), ("ended", call)]


def test_a_watcher_that_fails_disturbs_no_one_and_its_error_is_not_quoted(caplog: pytest.LogCaptureFixture) -> None:
    activity, after, call = CallEvents(), Noted(), Call(path="/canary")
    activity.observers += [Failing(), after]
    activity.began(call)
    activity.ended(call)
    assert [word for word, _ in after.heard] == ["began", "ended"]
    assert "Failing failed" in caplog.text
    assert "canary" not in caplog.text
