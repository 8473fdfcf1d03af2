"""What can be stored with OpenAI: objects by id, listed in pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wirekey_simulator.exchange import Answer, BadRequest, Json, Request, encode, json_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey_simulator.openai.asked import Asked
    from wirekey_simulator.state import State

PAGE = 20
LARGEST_KEPT = 1 << 20
"""Bytes of an object; larger ones are answered, not stored, so that long runs stay small."""


def keep(state: State, shelf: str, value: Json) -> None:
    if len(encode(value)) <= LARGEST_KEPT:
        state.store(shelf, value["id"], value)


def found(state: State, shelf: str, key: str, what: str) -> Any:
    """Give a stored object. Raises BadRequest with status 404."""
    value = state.shelf(shelf).get(key)
    if value is None:
        raise BadRequest(f"No such {what} object: {key}", status=404, field="id")
    return value


def page(values: list[Json], request: Request) -> Json:
    """Give the page that `limit`, `after` and `order` ask for. Raises BadRequest on a limit that is no number."""
    text = request.parameter("limit", str(PAGE))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 10_000:
        raise BadRequest(f"Invalid 'limit': expected an integer from 1 to 10000, but got '{text}'.", field="limit")
    ordered = values if request.parameter("order") == "asc" else values[::-1]
    ids = [value["id"] for value in ordered]
    after = request.parameter("after")
    start = ids.index(after) + 1 if after in ids else 0
    data = ordered[start : start + int(text)]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": start + len(data) < len(values),
    }


def list_of(shelf: str) -> Callable[[Asked], Answer]:
    def answer(asked: Asked) -> Answer:
        return json_answer(page(list(asked.state.shelf(shelf).values()), asked.request))

    return answer


def get_of(shelf: str, what: str) -> Callable[[Asked], Answer]:
    def answer(asked: Asked) -> Answer:
        return json_answer(found(asked.state, shelf, asked.key, what))

    return answer


def update_of(shelf: str, what: str) -> Callable[[Asked], Answer]:
    """Set the metadata, which is all that can be changed."""

    def answer(asked: Asked) -> Answer:
        value = found(asked.state, shelf, asked.key, what)
        value["metadata"] = asked.request.json().get("metadata") or {}
        return json_answer(value)

    return answer


def delete_of(shelf: str, what: str, kind: str) -> Callable[[Asked], Answer]:
    def answer(asked: Asked) -> Answer:
        found(asked.state, shelf, asked.key, what)
        del asked.state.shelf(shelf)[asked.key]
        return json_answer({"id": asked.key, "object": kind, "deleted": True})

    return answer
