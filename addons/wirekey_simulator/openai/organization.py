"""The reports of OpenAI's organization API about what was used: https://platform.openai.com/docs/api-reference/usage."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from wirekey_simulator.exchange import BadRequest, Json, SimulatedResponse, json_response
from wirekey_simulator.reports import DAY, DOLLARS_A_TOKEN, days, grouped, page_of_days, parameters

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey_simulator.openai.call import OpenAICall
    from wirekey_simulator.reports import Served


def costs(call: OpenAICall) -> SimulatedResponse:
    """Return a page of `GET /v1/organization/costs`."""

    def result(group: dict[str, str | None], of: list[Served]) -> Json:
        amount = {"value": sum(one.input + one.output for one in of) * DOLLARS_A_TOKEN, "currency": "usd"}
        return {"object": "organization.costs.result", "amount": amount, "project_id": None, **group}

    lines = {"line_item": lambda one: f"{one.model}, input and output", "api_key_id": lambda one: one.key}
    return page_of(call, lines, result)


def usage(kind: str, call: OpenAICall) -> SimulatedResponse:
    """Return a page of `GET /v1/organization/usage/completions` or `/embeddings`."""

    def result(group: dict[str, str | None], of: list[Served]) -> Json:
        return {
            "object": f"organization.usage.{kind}.result",
            "input_tokens": sum(one.input for one in of),
            "input_cached_tokens": sum(one.cached for one in of),
            "output_tokens": sum(one.output for one in of),
            "num_model_requests": len(of),
            "project_id": None,
            **group,
        }

    return page_of(call, {"model": lambda one: one.model, "api_key_id": lambda one: one.key}, result, kind)


def page_of(
    call: OpenAICall,
    names: dict[str, Callable[[Served], str]],
    result: Callable[[dict[str, str | None], list[Served]], Json],
    kind: str | None = None,
) -> SimulatedResponse:
    """Return a page of OpenAI's. Raises BadRequest."""
    query = parameters(call.request)
    if "start_time" not in query:
        raise BadRequest("Missing required parameter: 'start_time'.", field="start_time")
    groups = query.get("group_by", [])
    starts = days(int(query["start_time"][0]), int(query.get("end_time", [f"{time.time():.0f}"])[0]))
    starts, following = page_of_days(starts, query)
    data = [
        {
            "object": "bucket",
            "start_time": start,
            "end_time": start + DAY,
            "results": [result(*one) for one in grouped("openai", start, groups, names, call.state, kind=kind)],
        }
        for start in starts
    ]
    page = {"object": "page", "data": data, "has_more": following is not None, "next_page": following}
    return json_response(page)
