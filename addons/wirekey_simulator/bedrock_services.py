"""The responses of Bedrock's other services: models and profiles, an agent, a knowledge base.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_Operations_Amazon_Bedrock.html
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_Operations_Agents_for_Amazon_Bedrock_Runtime.html
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from wirekey_simulator import text
from wirekey_simulator.bedrock_stream import stream_response
from wirekey_simulator.eventstream import message
from wirekey_simulator.exchange import BadRequest, Json, SimulatedRequest, SimulatedResponse, encode, json_response
from wirekey_simulator.members import child

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey_simulator.behaviour import Behaviour

MODELS = ("amazon.nova-lite-v1:0", "anthropic.claude-3-5-sonnet-20241022-v2:0", "meta.llama3-8b-instruct-v1:0")
MODEL_ARN = "arn:aws:bedrock:us-east-1::foundation-model/"
PROFILE_ARN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/"
LISTS = re.compile(r"/(foundation-models|inference-profiles)(?:/([^/]+))?")
RETRIEVE = re.compile(r"/knowledgebases/[A-Za-z0-9]{1,10}/retrieve")
AGENT = re.compile(r"/agents/[A-Za-z0-9]{1,10}/agentAliases/[A-Za-z0-9]{1,10}/sessions/([^/]+)/text")
FOUND = {
    "content": {"text": "What the simulator knows.", "type": "TEXT"},
    "location": {"type": "S3", "s3Location": {"uri": "s3://simulated/document.txt"}},
    "score": 0.5,
}


def service_response(request: SimulatedRequest, behaviour: Behaviour) -> SimulatedResponse | None:
    """Return the response of one of these services, or None if the request is for another. Raises BadRequest."""
    path = request.path
    if request.method == "GET" and (lists := LISTS.fullmatch(path)):
        wanted = unquote(lists[2]) if lists[2] else None
        return _models(wanted) if lists[1] == "foundation-models" else _profiles(wanted)
    if request.method != "POST":
        return None
    if RETRIEVE.fullmatch(path):
        _want(child(request.json(), "retrievalQuery", "text"), "retrievalQuery")
        return json_response({"retrievalResults": [FOUND]})
    if path == "/retrieveAndGenerate":
        _want(child(request.json(), "input", "text"), "input")
        return json_response({"sessionId": "simulated", "output": {"text": text.whole(behaviour)}, "citations": []})
    if agent := AGENT.fullmatch(path):
        _want(request.json().get("inputText"), "inputText")
        headers = [
            ("x-amzn-bedrock-agent-content-type", "application/json"),
            ("x-amz-bedrock-agent-session-id", unquote(agent[1])),
        ]
        return stream_response(_chunks(behaviour), "chunk", headers)
    return None


def _want(value: object, name: str) -> None:
    if not isinstance(value, str) or not value:
        raise BadRequest(f"1 validation error detected: Value at '{name}' failed to satisfy constraint")


def _models(wanted: str | None) -> SimulatedResponse:
    if wanted is None:
        return json_response({"modelSummaries": [_model(model) for model in MODELS]})
    model = wanted.removeprefix(MODEL_ARN)
    if model not in MODELS:
        raise BadRequest("The provided model identifier is invalid.")
    return json_response({"modelDetails": _model(model)})


def _profiles(wanted: str | None) -> SimulatedResponse:
    if wanted is None:
        return json_response({"inferenceProfileSummaries": [_profile(model) for model in MODELS]})
    model = wanted.removeprefix(PROFILE_ARN).removeprefix("us.")
    if model not in MODELS:
        raise BadRequest("Inference profile not found", status=404)
    return json_response(_profile(model))


def _model(model: str) -> Json:
    return {
        "modelArn": MODEL_ARN + model,
        "modelId": model,
        "modelName": model.partition(".")[2],
        "providerName": model.partition(".")[0].title(),
        "inputModalities": ["TEXT"],
        "outputModalities": ["TEXT"],
        "responseStreamingSupported": True,
        "inferenceTypesSupported": ["ON_DEMAND"],
        "modelLifecycle": {"status": "ACTIVE"},
    }


def _profile(model: str) -> Json:
    return {
        "inferenceProfileId": f"us.{model}",
        "inferenceProfileArn": f"{PROFILE_ARN}us.{model}",
        "inferenceProfileName": f"US {model}",
        "models": [{"modelArn": MODEL_ARN + model}],
        "status": "ACTIVE",
        "type": "SYSTEM_DEFINED",
    }


def _chunks(behaviour: Behaviour) -> Iterator[bytes]:
    for piece in text.words(behaviour):
        yield message("chunk", encode({"bytes": base64.b64encode(piece.encode()).decode()}))
