"""Objects stored with OpenAI, by id, and their lists in pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wirekey_simulator.exchange import BadRequest, Json, SimulatedRequest, SimulatedResponse, encode, json_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey_simulator.openai.call import OpenAICall
    from wirekey_simulator.state import State

PAGE = 20
LARGEST_KEPT = 1 << 20
"""Bytes of the largest object to store. Larger ones are not kept, so that long runs stay small."""


def keep(state: State, shelf: str, value: Json) -> None:
    """Store an object by its id, unless it is too large."""
    if len(encode(value)) <= LARGEST_KEPT:
        state.store(shelf, value["id"], value)


def found(state: State, shelf: str, key: str, what: str) -> Any:
    """Return a stored object. Raises BadRequest with status 404."""
    value = state.shelf(shelf).get(key)
    if value is None:
        raise BadRequest(f"No such {what} object: {key}", status=404, field="id")
    return value


def page(values: list[Json], request: SimulatedRequest) -> Json:
    """Return the page that `limit`, `after` and `order` ask for. Raises BadRequest on a limit that is no number."""
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


def list_of(shelf: str) -> Callable[[OpenAICall], SimulatedResponse]:
    """Return the function that lists the objects of a shelf."""

    def respond(call: OpenAICall) -> SimulatedResponse:
        return json_response(page(list(call.state.shelf(shelf).values()), call.request))

    return respond


def get_of(shelf: str, what: str) -> Callable[[OpenAICall], SimulatedResponse]:
    """Return the function that returns an object of a shelf."""

    def respond(call: OpenAICall) -> SimulatedResponse:
        return json_response(found(call.state, shelf, call.key, what))

    return respond


def update_of(shelf: str, what: str) -> Callable[[OpenAICall], SimulatedResponse]:
    """Return the function that sets an object's metadata, the only part that can change."""

    def respond(call: OpenAICall) -> SimulatedResponse:
        value = found(call.state, shelf, call.key, what)
        value["metadata"] = call.request.json().get("metadata") or {}
        return json_response(value)

    return respond


def delete_of(shelf: str, what: str, kind: str) -> Callable[[OpenAICall], SimulatedResponse]:
    """Return the function that deletes an object of a shelf."""

    def respond(call: OpenAICall) -> SimulatedResponse:
        found(call.state, shelf, call.key, what)
        del call.state.shelf(shelf)[call.key]
        return json_response({"id": call.key, "object": kind, "deleted": True})

    return respond
