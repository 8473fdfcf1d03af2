"""The tables of the end-to-end tests, over each delivery.

The rows of a table run in parallel, each with an agent of its own, so that the audit events of a row can be found.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.deliveries.paths import DELIVERIES, NO_PADDING, PADDING, PATHS, deliveries_on_two_paths, name_parameter
from tests.end_to_end.stream_formats import FORMATS, HOSTS, PLACEHOLDER, decoded, headers_for
from tests.end_to_end.test_operations import ROWS
from tests.running import wait_for
from tests.threats.conftest import beginning

PARALLEL_ROWS = 8
ON_ONE_PATH = [(delivery, PATHS[index % len(PATHS)]) for index, delivery in enumerate(DELIVERIES)]
"""Each delivery with one path, for long tables."""
STATUSES = (400, 401, 403, 404, 408, 413, 429, 500, 502, 503, 504, 529)
SHAPES = {
    "openai": ("/v1/chat/completions", {"model": "{}", "messages": [{"role": "user", "content": "hello"}]}),
    "gemini": ("/v1beta/models/{}:generateContent", {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}),
    "anthropic": (
        "/v1/messages",
        {"model": "{}", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]},
    ),
}


class RowAgent:
    """The agent of one row: its client, its requests and its audit events."""

    def __init__(self, deployment, path, delivery: str, number: int) -> None:
        self.deployment, self.path, self.delivery = deployment, path, delivery
        self.agent = f"row{number}"
        self.started = beginning()

    def client(self) -> httpx.Client:
        """Return a client with connections of its own."""
        return self.deployment.client(self.path.client, self.agent)

    def request(self, provider: str, method: str, url_path: str, directives: str = "", **content) -> dict:
        """Return the arguments for httpx of a request. `directives`: for the simulator, in addition to the delivery."""
        headers = headers_for(provider, url_path, PLACEHOLDER) | {"accept-encoding": "gzip, br"}
        if all_directives := ", ".join(filter(None, (DELIVERIES[self.delivery], directives))):
            headers["x-simulator"] = all_directives
        if "json" in content:
            body = json.dumps(content.pop("json")).encode()
            content["content"] = body + (PADDING if "early" in self.delivery else NO_PADDING)
            headers["content-type"] = "application/json"
        return {"method": method, "url": f"https://{HOSTS[provider]}{url_path}", "headers": headers, **content}

    def events(self, count: int) -> list[dict]:
        """Return the audit events of the row's calls, once `count` calls have ended."""
        return wait_for(lambda: self.deployment.events_of(self.agent, self.started, count), f"events of {self.agent}")


def failed_rows(deployment, path, delivery: str, rows: dict, check: Callable) -> list[str]:
    """Run `check` with an agent for each row. Returns the rows that failed, with their errors."""

    def error_of(numbered) -> str | None:
        number, (name, row) = numbered
        try:
            check(RowAgent(deployment, path, delivery, number), row)
        except Exception as error:
            return f"{name}: {type(error).__name__}: {error}"
        return None

    with ThreadPoolExecutor(PARALLEL_ROWS) as pool:
        return [error for error in pool.map(error_of, enumerate(rows.items())) if error]


on_two_paths = pytest.mark.parametrize(
    ("delivery", "path"), deliveries_on_two_paths(), ids=name_parameter, indirect=["path"]
)
on_one_path = pytest.mark.parametrize(("delivery", "path"), ON_ONE_PATH, ids=name_parameter, indirect=["path"])


@on_two_paths
def test_streams_arrive_complete(deployment, path, delivery):
    def check(agent, stream_format):
        with agent.client() as client:
            for directives in ("tokens=12, input-tokens=31", "events=12, gzip"):
                request = agent.request(
                    stream_format.provider, "POST", stream_format.path, directives, json=stream_format.body
                )
                with client.stream(**request) as response:
                    text = b"".join(decoded(response.iter_raw(), response.headers))
                assert response.status_code == 200, text
                assert stream_format.first_event(text) < len(text)
        for event in agent.events(2):
            assert (event["operation"], event["outcome"]) == (stream_format.operation, "completed"), event
            assert event["attempts"] == 1, event

    assert failed_rows(deployment, path, delivery, FORMATS, check) == []


@on_two_paths
@pytest.mark.parametrize("fault", ["reset", "truncate"])
def test_a_stream_that_the_provider_ends_early_ends_early_for_the_client(deployment, path, delivery, fault):
    def check(agent, stream_format):
        with agent.client() as client:
            request = agent.request(
                stream_format.provider, "POST", stream_format.path, f"{fault}-after=2", json=stream_format.body
            )
            with pytest.raises(httpx.HTTPError):
                client.request(**request)
        (event,) = agent.events(1)
        assert (event["outcome"], event["status"], event["attempts"]) == ("upstream_reset", 200, 1), event

    assert failed_rows(deployment, path, delivery, FORMATS, check) == []


@on_two_paths
def test_a_client_that_disconnects_is_recorded(deployment, path, delivery):
    def check(agent, stream_format):
        with agent.client() as client:
            directives = "events=100000, pace=0.01"
            request = agent.request(
                stream_format.provider, "POST", stream_format.path, directives, json=stream_format.body
            )
            with client.stream(**request) as response:
                next(response.iter_raw())
        (event,) = agent.events(1)
        assert event["outcome"] == "client_cancelled", event

    assert failed_rows(deployment, path, delivery, FORMATS, check) == []


@on_two_paths
def test_error_responses_of_the_provider_reach_the_client_unchanged(deployment, path, delivery):
    rows = {
        f"{provider} {status}": (provider, status, *shape) for provider, shape in SHAPES.items() for status in STATUSES
    }

    def check(agent, row):
        provider, status, url_path, body = row
        model = "alone-refused"
        request_body = json.loads(json.dumps(body).replace("{}", model))
        with agent.client() as client:
            request = agent.request(
                provider, "POST", url_path.replace("{}", model), f"fail={status}", json=request_body
            )
            response = client.request(**request)
        assert response.status_code == status, response.text
        assert response.json()["error"]["message"]
        (event,) = agent.events(1)
        assert (event["outcome"], event["status"], event["attempts"]) == ("upstream_error", status, 1), event

    assert failed_rows(deployment, path, delivery, rows, check) == []


@on_two_paths
def test_routes_set_the_model_and_the_fallback(deployment, path, delivery):
    rows = {f"{model} {number}": model for model in ("again-x.sim-fail-503", "other-model") for number in range(4)}

    def check(agent, model):
        body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
        with agent.client() as client:
            response = client.request(**agent.request("openai", "POST", "/v1/chat/completions", json=body))
        assert response.status_code == 200, response.text
        (event,) = agent.events(1)
        expected = ("gpt-4o-mini", 2) if model.startswith("again") else ("gpt-4.1", 1)
        assert (event["model"], event["attempts"], event["outcome"]) == (*expected, "completed"), event

    assert failed_rows(deployment, path, delivery, rows, check) == []


@on_one_path
def test_every_operation_gets_a_response_and_an_audit_event(deployment, path, delivery):
    def check(agent, row):
        created, count = "", 1
        with agent.client() as client:
            if row.after:
                response = send(agent, client, ROWS[row.after]).json()
                created, count = response.get("id") or response["name"], 2
            response = send(agent, client, row, created)
        assert response.status_code == 200, response.text
        event = agent.events(count)[-1]
        assert (event["operation"], event["action"], event["outcome"]) == (row.operation, row.method, "completed"), (
            event
        )
        if row.usage:
            found = tuple(event[f"{name}_tokens"] for name in ("input", "output", "cached_input", "reasoning"))
            assert found == row.usage, event

    rows = {name: row for name, row in ROWS.items() if not (row.after and ROWS[row.after].after)}
    assert failed_rows(deployment, path, delivery, rows, check) == []


def send(agent: RowAgent, client: httpx.Client, row, created: str = "") -> httpx.Response:
    content = {}
    if row.body is not None:
        content["json"] = row.body
    if row.files is not None:
        content |= {"data": row.form, "files": row.files}
    return client.request(
        **agent.request(row.provider, row.method, row.path.format(id=created), row.behaviour, **content)
    )
