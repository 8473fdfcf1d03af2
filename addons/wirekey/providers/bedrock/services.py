"""The operations of Bedrock's other services: the models and profiles there are, agents, and knowledge bases.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_Operations_Amazon_Bedrock.html
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_Operations_Agents_for_Amazon_Bedrock_Runtime.html
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from wirekey.body import Body
from wirekey.operation import Facts, Kind, Operation
from wirekey.providers.other_models import others
from wirekey.providers.request_json import MODEL_LENGTH, one_of, read_model, refuse_lookalikes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.providers.request_json import JsonObject

# SDKs write `:` as %3A, some as itself; the `/` of an ARN is always %2F. Nothing else is ever encoded.
WRITTEN_MODEL = r"((?:[A-Za-z0-9._:-]|%3A|%2F)+)"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._:-]*"
_MODEL = re.compile(rf"{_NAME}|arn:aws[a-z-]*:(?:bedrock|sagemaker):[a-z0-9-]+:[0-9]*:[a-z-]+(?:/{_NAME})+")

_ID = r"[A-Za-z0-9]{1,10}"
_SESSION = r"[A-Za-z0-9](?:[A-Za-z0-9._:-]|%3A){1,99}"

ACTIONS = ("invoke", "invoke-with-response-stream", "converse", "converse-stream", "count-tokens")
"""The operations of the runtime."""

RUNTIME, CATALOGUE, AGENTS = "bedrock-runtime", "bedrock", "bedrock-agent-runtime"

# Knowledge bases and agents are the account's own: what they hold and do is more than a model's response.
_ROWS = (
    ("GET", r"/foundation-models", "list-foundation-models", CATALOGUE, Body.NONE, Kind.LISTING),
    ("GET", rf"/foundation-models/{WRITTEN_MODEL}", "get-foundation-model", CATALOGUE, Body.NONE, Kind.LISTING),
    ("GET", r"/inference-profiles", "list-inference-profiles", CATALOGUE, Body.NONE, Kind.LISTING),
    ("GET", rf"/inference-profiles/{WRITTEN_MODEL}", "get-inference-profile", CATALOGUE, Body.NONE, Kind.LISTING),
    ("POST", rf"/knowledgebases/{_ID}/retrieve", "retrieve", AGENTS, Body.JSON, Kind.STORAGE),
    ("POST", r"/retrieveAndGenerate", "retrieve-and-generate", AGENTS, Body.JSON, Kind.STORAGE),
    (
        "POST",
        rf"/agents/{_ID}/agentAliases/{_ID}/sessions/{_SESSION}/text",
        "invoke-agent",
        AGENTS,
        Body.JSON,
        Kind.STORAGE,
    ),
)
_KEYS = frozenset(
    [
        *("inputText", "input", "text", "retrievalQuery", "sessionState", "knowledgeBaseConfigurations"),
        *("retrieveAndGenerateConfiguration", "knowledgeBaseConfiguration", "externalSourcesConfiguration"),
        *("generationConfiguration", "inferenceConfig", "textInferenceConfig", "maxTokens", "modelArn"),
        *("retrievalConfiguration", "vectorSearchConfiguration", "managedSearchConfiguration"),
        *("implicitFilterConfiguration", "rerankingConfiguration", "bedrockRerankingConfiguration"),
        "modelConfiguration",
    ]
)
"""Members that are read, at any level."""

_PATTERNS = [
    (method, re.compile(path), Operation(name, body, kind, stream=name == "invoke-agent"))
    for method, path, name, _, body, kind in _ROWS
]
_SERVICES = {name: service for _, _, name, service, _, _ in _ROWS}


def service_of(operation: str) -> str:
    """Return the service whose hosts have an operation of Bedrock. Its path means something there only."""
    return _SERVICES.get(operation, RUNTIME)


def read_model_segment(written: str) -> str | None:
    """Decode a model's id or ARN as it stands in a path; None if it is neither."""
    model = written.replace("%3A", ":").replace("%2F", "/")
    return model if len(model) <= MODEL_LENGTH and _MODEL.fullmatch(model) else None


def find(method: str, path: str) -> Operation | None:
    """Find the operation of one of the other two services."""
    for wanted, pattern, operation in _PATTERNS:
        match = pattern.fullmatch(path) if method == wanted else None
        if match is None:
            continue
        if not match.groups():
            return operation
        model = read_model_segment(match[1])
        return replace(operation, model=model) if model else None
    return None


def read(operation: Operation, data: JsonObject) -> Facts:
    """Read what is asked of an agent or a knowledge base. The model is the one that writes the response.

    Others rank what was found, or turn the question into a filter.
    """
    refuse_lookalikes(data, _KEYS)
    if operation.name == "invoke-agent":
        state = _within(data, "sessionState")
        sources = list(state.children("knowledgeBaseConfigurations")) if state else []
        models = others((name for source in sources for name in _searching_models(source)), None)
        return Facts(stream=True, message_count=1 if data.filled("inputText") else None, other_models=models)
    asked = data.child("input" if operation.name == "retrieve-and-generate" else "retrievalQuery")
    count = 1 if asked and asked.filled("text") else None
    if operation.name == "retrieve":
        return Facts(message_count=count, other_models=others(_searching_models(data), None))
    configuration = _within(data, "retrieveAndGenerateConfiguration")
    if configuration is None:
        return Facts(message_count=count)
    kind = one_of(configuration, "knowledgeBaseConfiguration", "externalSourcesConfiguration")
    source = _within(configuration, kind)
    model = read_model(source, "modelArn") if source else None
    config = _within(source, "generationConfiguration", "inferenceConfig", "textInferenceConfig")
    return Facts(
        model=model,
        message_count=count,
        max_tokens=config.integer("maxTokens") if config else None,
        other_models=others(_searching_models(source), model),
    )


def _searching_models(source: JsonObject | None) -> Iterator[str | None]:
    if source:
        refuse_lookalikes(source, _KEYS)
    for search in ("vectorSearchConfiguration", "managedSearchConfiguration"):
        found = _within(source, "retrievalConfiguration", search)
        ranking = ("rerankingConfiguration", "bedrockRerankingConfiguration", "modelConfiguration")
        for path in (("implicitFilterConfiguration",), ranking):
            if inner := _within(found, *path):
                yield read_model(inner, "modelArn")


def _within(source: JsonObject | None, *names: str) -> JsonObject | None:
    for name in names:
        source = source.child(name) if source else None
        if source:
            refuse_lookalikes(source, _KEYS)
    return source
