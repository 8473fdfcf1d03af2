"""The tables of the end-to-end tests over a cover of deliveries and paths: each delivery over both protocols.

The rows of a table are played at once, each as an agent of its own, so that its events are known.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.deliveries.paths import DELIVERIES, ONLY_BYTES, PADDING, PATHS, names, pairs
from tests.end_to_end.stream_formats import FORMATS, HOSTS, PLACEHOLDER, decoded, headers_for
from tests.end_to_end.test_operations import ROWS
from tests.running import wait_for
from tests.threats.conftest import beginning

AT_ONCE = 8
ONCE_EACH = [(delivery, PATHS[place % len(PATHS)]) for place, delivery in enumerate(DELIVERIES)]
"""Each delivery on one path, for long tables."""
STATUSES = (400, 401, 403, 404, 408, 413, 429, 500, 502, 503, 504, 529)
SHAPES = {
    "openai": ("/v1/chat/completions", {"model": "{}", "messages": [{"role": "user", "content": "hello"}]}),
    "gemini": ("/v1beta/models/{}:generateContent", {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}),
    "anthropic": (
        "/v1/messages",
        {"model": "{}", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]},
    ),
}


class Player:
    """One row's agent: a client of its own, and its events."""

    def __init__(self, stage, path, delivery: str, number: int) -> None:
        self.stage, self.path, self.delivery = stage, path, delivery
        self.agent = f"row{number}"
        self.began = beginning()

    def client(self) -> httpx.Client:
        return self.stage.client(self.path.client, self.agent)

    def request(self, provider: str, method: str, url_path: str, words: str = "", **content) -> dict:
        headers = headers_for(provider, url_path, PLACEHOLDER) | {"accept-encoding": "gzip, br"}
        said = ", ".join(filter(None, (DELIVERIES[self.delivery], words)))
        if said:
            headers["x-simulator"] = said
        if "json" in content:
            body = json.dumps(content.pop("json")).encode()
            content["content"] = body + (PADDING if "early" in self.delivery else ONLY_BYTES)
            headers["content-type"] = "application/json"
        return {"method": method, "url": f"https://{HOSTS[provider]}{url_path}", "headers": headers, **content}

    def events(self, count: int) -> list[dict]:
        return wait_for(lambda: self.stage.events_of(self.agent, self.began, count), f"events of {self.agent}")


def played(stage, path, delivery: str, rows: dict, play: Callable) -> list[str]:
    """Play each row, and say which went wrong, and how."""

    def one(numbered) -> str | None:
        number, (name, row) = numbered
        try:
            play(Player(stage, path, delivery, number), row)
        except Exception as error:
            return f"{name}: {type(error).__name__}: {error}"
        return None

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [problem for problem in pool.map(one, enumerate(rows.items())) if problem]


over_deliveries = pytest.mark.parametrize(("delivery", "path"), pairs(), ids=names, indirect=["path"])
over_each_once = pytest.mark.parametrize(("delivery", "path"), ONCE_EACH, ids=names, indirect=["path"])


@over_deliveries
def test_streams_arrive_whole(stage, path, delivery):
    def play(player, wanted):
        with player.client() as client:
            for words in ("tokens=12, input-tokens=31", "events=12, gzip"):
                request = player.request(wanted.provider, "POST", wanted.path, words, json=wanted.body)
                with client.stream(**request) as answer:
                    text = b"".join(decoded(answer.iter_raw(), answer.headers))
                assert answer.status_code == 200, text
                assert wanted.first_event(text) < len(text)
        for event in player.events(2):
            assert (event["operation"], event["outcome"]) == (wanted.operation, "completed"), event
            assert event["attempts"] == 1, event

    assert played(stage, path, delivery, FORMATS, play) == []


@over_deliveries
@pytest.mark.parametrize("fault", ["reset", "truncate"])
def test_streams_that_break_off_break_off_for_the_client_and_are_recorded_so(stage, path, delivery, fault):
    def play(player, wanted):
        with player.client() as client:
            request = player.request(wanted.provider, "POST", wanted.path, f"{fault}-after=2", json=wanted.body)
            with pytest.raises(httpx.HTTPError):
                client.request(**request)
        (event,) = player.events(1)
        assert (event["outcome"], event["status"], event["attempts"]) == ("upstream_reset", 200, 1), event

    assert played(stage, path, delivery, FORMATS, play) == []


@over_deliveries
def test_a_client_that_leaves_is_recorded_as_one_that_left(stage, path, delivery):
    def play(player, wanted):
        with player.client() as client:
            words = "events=100000, pace=0.01"
            request = player.request(wanted.provider, "POST", wanted.path, words, json=wanted.body)
            with client.stream(**request) as answer:
                next(answer.iter_raw())
        (event,) = player.events(1)
        assert event["outcome"] == "client_cancelled", event

    assert played(stage, path, delivery, FORMATS, play) == []


@over_deliveries
def test_refusals_of_the_provider_reach_the_client_as_they_are(stage, path, delivery):
    rows = {
        f"{provider} {status}": (provider, status, *shape) for provider, shape in SHAPES.items() for status in STATUSES
    }

    def play(player, row):
        provider, status, url_path, body = row
        model = "alone-refused"
        asked = json.loads(json.dumps(body).replace("{}", model))
        with player.client() as client:
            request = player.request(provider, "POST", url_path.replace("{}", model), f"fail={status}", json=asked)
            answer = client.request(**request)
        assert answer.status_code == status, answer.text
        assert answer.json()["error"]["message"]
        (event,) = player.events(1)
        assert (event["outcome"], event["status"], event["attempts"]) == ("upstream_error", status, 1), event

    assert played(stage, path, delivery, rows, play) == []


@over_deliveries
def test_routes_lead_to_their_model_and_to_their_fallback(stage, path, delivery):
    rows = {f"{model} {number}": model for model in ("again-x.sim-fail-503", "other-model") for number in range(4)}

    def play(player, model):
        body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
        with player.client() as client:
            answer = client.request(**player.request("openai", "POST", "/v1/chat/completions", json=body))
        assert answer.status_code == 200, answer.text
        (event,) = player.events(1)
        expected = ("gpt-4o-mini", 2) if model.startswith("again") else ("gpt-4.1", 1)
        assert (event["model"], event["attempts"], event["outcome"]) == (*expected, "completed"), event

    assert played(stage, path, delivery, rows, play) == []


@over_each_once
def test_every_operation_is_answered_and_accounted_for(stage, path, delivery):
    def play(player, row):
        made, count = "", 1
        with player.client() as client:
            if row.after:
                answer = send(player, client, ROWS[row.after]).json()
                made, count = answer.get("id") or answer["name"], 2
            answer = send(player, client, row, made)
        assert answer.status_code == 200, answer.text
        event = player.events(count)[-1]
        assert (event["operation"], event["action"], event["outcome"]) == (row.operation, row.method, "completed"), (
            event
        )
        if row.usage:
            found = tuple(event[f"{name}_tokens"] for name in ("input", "output", "cached_input", "reasoning"))
            assert found == row.usage, event

    rows = {name: row for name, row in ROWS.items() if not (row.after and ROWS[row.after].after)}
    assert played(stage, path, delivery, rows, play) == []


def send(player: Player, client: httpx.Client, row, made: str = "") -> httpx.Response:
    content = {}
    if row.body is not None:
        content["json"] = row.body
    if row.files is not None:
        content |= {"data": row.form, "files": row.files}
    return client.request(
        **player.request(row.provider, row.method, row.path.format(id=made), row.behaviour, **content)
    )
