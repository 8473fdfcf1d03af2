"""Batches of the Gemini API: pending when created, succeeded at the next request. Results are inline, or in a file.

A request with the metadata `fails` ends with an error. https://ai.google.dev/gemini-api/docs/batch-api
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from wirekey_simulator.exchange import BadRequest, Json, SimulatedRequest, SimulatedResponse, encode, json_response
from wirekey_simulator.gemini_files import contents_of, store_file
from wirekey_simulator.gemini_generate import generate
from wirekey_simulator.state import CREATED_TEXT

if TYPE_CHECKING:
    from wirekey_simulator.behaviour import Behaviour
    from wirekey_simulator.state import State

BATCHES, INPUTS = "gemini.batches", "gemini.batches.inputs"
OUTPUT_TYPE = "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatchOutput"


def create(model: str, request: SimulatedRequest, behaviour: Behaviour, state: State) -> SimulatedResponse:
    """Create a batch of requests in the body, or in a file."""
    batch = request.json().get("batch") or {}
    given = batch.get("inputConfig", batch.get("input_config")) or {}
    file = given.get("fileName", given.get("file_name"))
    inline: Any = (given.get("requests") or {}).get("requests")
    items: Any = inline if file is None else _lines(contents_of(file, state))
    if not isinstance(items, list) or not items:
        raise BadRequest("* BatchGenerateContentRequest.batch.input_config: requests is not specified")
    name = f"batches/{state.new_id('sim', digits=20)}"
    metadata: Json = {
        "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
        "model": f"models/{model}",
        "displayName": batch.get("displayName", batch.get("display_name", "")),
        "state": "BATCH_STATE_PENDING",
        "createTime": CREATED_TEXT,
        "name": name,
    }
    made: Json = {"name": name, "metadata": metadata}
    state.store(BATCHES, name, made)
    state.store(INPUTS, name, (items, file is not None, behaviour))
    return json_response(made)


def batches(method: str, rest: list[str], request: SimulatedRequest, state: State) -> SimulatedResponse:
    """Return the response to a request to `batches`, or to `batches/NAME` if `rest` is [NAME]."""
    shelf = state.shelf(BATCHES)
    name = f"batches/{rest[0].partition(':')[0]}" if rest else ""
    if rest and name not in shelf:
        raise BadRequest(f"{name} is not found.", status=404)
    match method, *rest:
        case ["GET"]:
            return json_response({"operations": list(shelf.values())})
        case ["GET", _]:
            if "done" not in shelf[name]:
                _end(shelf[name], request, state)
            return json_response(shelf[name])
        case ["POST", action] if action.endswith(":cancel"):
            shelf[name]["metadata"]["state"] = "BATCH_STATE_CANCELLED"
            shelf[name]["done"] = True
            return json_response({})
        case ["DELETE", _]:
            del shelf[name]
            return json_response({})
    raise BadRequest(f"The requested URL {request.path} was not found on this server.", status=404)


def _end(batch: Json, request: SimulatedRequest, state: State) -> None:
    """Process the requests of a batch."""
    items, from_file, behaviour = state.shelf(INPUTS)[batch["name"]]
    model = batch["metadata"]["model"].removeprefix("models/")
    results = [_result(item, model, request, behaviour, state) for item in items]
    if from_file:
        content = b"".join(encode(result) + b"\n" for result in results)
        output: Json = {"responsesFile": store_file("batch-output", "application/jsonl", content, state)["name"]}
    else:
        output = {"inlinedResponses": {"inlinedResponses": results}}
    batch["metadata"] |= {"state": "BATCH_STATE_SUCCEEDED", "endTime": CREATED_TEXT, "output": output}
    batch |= {"done": True, "response": {"@type": OUTPUT_TYPE, **output}}


def _result(item: Any, model: str, request: SimulatedRequest, behaviour: Behaviour, state: State) -> Json:
    """Return the result of one request, under its key or with its metadata."""
    body = item.get("request") if isinstance(item, dict) else None
    marks: Json = {name: item[name] for name in ("key", "metadata") if name in item} if isinstance(item, dict) else {}
    if not isinstance(body, dict) or "fails" in (marks.get("metadata") or {}):
        return marks | {"error": {"code": 3, "message": "The request is not valid (simulated)."}}
    body = {name: value for name, value in body.items() if name != "model"}
    inner = replace(request, method="POST", body=encode(body), size=len(encode(body)))
    try:
        made = msgspec.json.decode(generate(model, inner, behaviour, state).body)
    except BadRequest as error:
        return marks | {"error": {"code": 3, "message": error.message}}
    return marks | {"response": made}


def _lines(content: bytes) -> list[Any]:
    try:
        return [msgspec.json.decode(line) for line in content.splitlines() if line.strip()]
    except msgspec.DecodeError:
        return []
