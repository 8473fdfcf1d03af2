"""Conversations of several steps: what the client got from one upstream goes to the next. The cases are in `cases/`."""

import json
import re

import pytest

from tests.features.translation.cases import STATES, client_body, dumped, formats, load, model_of
from tests.features.translation.matching import match
from tests.features.translation.test_responses import reply_of
from wirekey.features.translation.own_format import without_signed_state
from wirekey.features.translation.requests import translate_request
from wirekey.features.translation.responses import translate_response

SESSIONS = load("session")


def referred(answers, path):
    step, *names = path.split(".")
    found = answers[int(step)]
    for name in names:
        found = found[int(name)] if name.isdigit() else found[name]
    return found


def plainest(message):
    """Keep of a message what the plainest client keeps."""
    kept = {name: message.get(name) for name in ("role", "content")}
    if calls := message.get("tool_calls"):
        kept["tool_calls"] = [
            {"id": call["id"], "type": "function", "function": {
                "name": call["function"]["name"], "arguments": call["function"]["arguments"],
            }}
            for call in calls
        ]  # fmt: skip
    return kept


def resolved(value, answers):
    if isinstance(value, dict) and "$ref" in value:
        found = referred(answers, value["$ref"])
        found = plainest(found) if value.get("$std") else found
        return {**found, **value.get("$set", {})} if isinstance(found, dict) else found
    if isinstance(value, dict):
        return {name: resolved(one, answers) for name, one in value.items()}
    if isinstance(value, list):
        return [resolved(one, answers) for one in value]
    return value


@pytest.mark.parametrize("name", SESSIONS)
def test_a_session(name):
    case = SESSIONS[name]
    answers, bound = [], {}
    for step in case["in"]:
        to = {**case, "to": step.get("to", case["to"])}
        if "to" in step and "model" not in step:
            to.pop("model", None)
        if "model" in step:
            to["model"] = step["model"]
        client, upstream = formats(to)
        ask = resolved(step["ask"], answers)
        body = client_body(case["from"], ask)
        if client is upstream:
            text = without_signed_state(client, body, model_of(to)).decode()
        else:
            request = translate_request(client, upstream, model_of(to), body, STATES)
            text = request.body.decode()
        expected = step.get("expect", {}).get("upstream", {})
        match(expected.get("body", {}), json.loads(text), bound=bound)
        for piece in expected.get("raw_lacks", []):
            assert piece not in text
        if "path" in expected:
            assert re.search(expected["path"], request.path)
        if "answer" in step:
            found = translate_response(200, dumped(step["answer"]).encode(), reply_of(to, ask))
            answers.append(json.loads(found.body))
        else:
            answers.append(None)
