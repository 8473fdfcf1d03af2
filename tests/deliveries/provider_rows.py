"""Calls of a provider that a feature adds, themselves and from other formats, over a delivery."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.deliveries.paths import failed_rows
from wirekey.features.rollup.answers import read_answer
from wirekey_simulator.text import TEXT

if TYPE_CHECKING:
    from tests.deliveries.paths import Deployment, ProtocolPath, RowAgent

USER = {"messages": [{"role": "user", "content": "hello"}]}
MESSAGE = {"max_tokens": 50, **USER}
STREAM = {"stream": True}


class Row(NamedTuple):
    """A call: whose API, where, what, the format of its response, and the credential and translation in its event."""

    provider: str
    path: str
    body: dict
    form: str
    credential: str
    translation: str | None = None


def check(agent: RowAgent, row: Row) -> None:
    """Make a call, whose response must arrive whole and whose event must be right."""
    response = agent.client.request(**agent.request(row.provider, "POST", row.path, json=row.body))
    assert response.status_code == 200, response.text
    assert read_answer(row.form, response.headers["content-type"], response.content) == TEXT
    (event,) = agent.events(1)
    assert (event["outcome"], event["credential"]) == ("completed", row.credential)
    assert event["translation"] == row.translation
    assert event["output_tokens"] is not None


def failed(deployment: Deployment, path: ProtocolPath, delivery: str, rows: dict[str, Row]) -> list[str]:
    """Make the calls of all rows. Returns the errors of the rows that failed."""
    return failed_rows(deployment, path, delivery, rows, check)
