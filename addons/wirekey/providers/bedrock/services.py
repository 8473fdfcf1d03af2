"""The operations of Bedrock's other services: the models and profiles there are, agents, and knowledge bases.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_Operations_Amazon_Bedrock.html
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_Operations_Agents_for_Amazon_Bedrock_Runtime.html
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from wirekey.core.model_name import MODEL_LENGTH, PREFIX, has_unknown_prefix
from wirekey.core.operation import Facts, Kind
from wirekey.providers.other_models import others
from wirekey.providers.paths import PathTable, read_rows
from wirekey.providers.request_json import one_of, read_model, refuse_lookalikes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.core.operation import Operation
    from wirekey.providers.paths import Row
    from wirekey.providers.request_json import JsonObject

# SDKs write `:` as %3A, some as itself; the `/` of an ARN is always %2F. Nothing else is ever encoded.
# The parameters of a model string are encoded, too: `amazon.nova-lite-v1%3A0%3Ftemperature%3D0.5`.
WRITTEN_MODEL = r"((?:[A-Za-z0-9._:-]|%3A|%2F)+(?:%3F(?:[A-Za-z0-9_.-]|%3D|%26){1,256})?)"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._:-]*"
_NAME_AFTER_BACKEND = re.compile(rf"(?:{PREFIX}):(?:google/)?({_NAME})")
_MODEL = re.compile(rf"{_NAME}|arn:aws[a-z-]*:(?:bedrock|sagemaker):[a-z0-9-]+:[0-9]*:[a-z-]+(?:/{_NAME})+")

# Ids and ARNs as SDKs write them.
_WRITTEN_ID = r"[A-Za-z0-9](?:[A-Za-z0-9._~:-]|%3A|%2F)*"
_ID = re.compile(rf"{_NAME}|arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:[0-9]*:{_NAME}(?:/{_NAME})*")

TWO_WAY = "invoke-with-bidirectional-stream"
ACTIONS = ("invoke", "invoke-with-response-stream", "converse", "converse-stream", "count-tokens", TWO_WAY)
"""The operations of the runtime that call a model."""
STREAMS = (
    *("converse-stream", "invoke-with-response-stream", "invoke-agent", "invoke-inline-agent", TWO_WAY),
    *("retrieve-and-generate-stream", "agentic-retrieve-stream", "invoke-flow", "optimize-prompt"),
)
"""Operations that respond with an event stream."""
_MODEL_MEMBERS = {
    "start-async-invoke": "modelId",
    "create-model-invocation-job": "modelId",
    "invoke-inline-agent": "foundationModel",
    "optimize-prompt": "targetModelId",
}
"""Operation → the member of its body that names the model."""
GENERATES = ("retrieve-and-generate", "retrieve-and-generate-stream")

READ = ("invoke-agent", "retrieve", *GENERATES)

RUNTIME = "bedrock-runtime"


# The table has `SERVICE:PATH`.
_SERVICES: dict[str, str] = {}


def _rows() -> Iterator[Row]:
    for method, written, name, body, kind in read_rows(__file__):
        _SERVICES[name], _, path = written.partition(":")
        yield method, path, name, body, kind


ROUTES = PathTable(_rows(), {"id": _WRITTEN_ID, "model": WRITTEN_MODEL})

_KEYS = frozenset(
    [
        *_MODEL_MEMBERS.values(),
        *("inputText", "input", "text", "retrievalQuery", "sessionState", "knowledgeBaseConfigurations"),
        *("retrieveAndGenerateConfiguration", "knowledgeBaseConfiguration", "externalSourcesConfiguration"),
        *("generationConfiguration", "inferenceConfig", "textInferenceConfig", "maxTokens", "modelArn"),
        *("retrievalConfiguration", "vectorSearchConfiguration", "managedSearchConfiguration"),
        *("implicitFilterConfiguration", "rerankingConfiguration", "bedrockRerankingConfiguration"),
        "modelConfiguration",
    ]
)
"""Members that are read, at any level."""


LONGEST_CACHED_PATH = 256
"""Characters. Clients choose the paths, and the cache keeps them."""


def service_of(operation: str) -> str:
    """Return the service whose hosts have an operation of Bedrock. Its path means something there only."""
    return _SERVICES.get(operation, RUNTIME)


def read_model_segment(written: str) -> str | None:
    """Decode a model's id or ARN as it stands in a path; None if it is neither."""
    model = written.replace("%3A", ":").replace("%2F", "/")
    return model if len(model) <= MODEL_LENGTH and _MODEL.fullmatch(model) else None


def read_model_string(written: str) -> str | None:
    """Decode a model's id or ARN in a path, which may have a backend in front and parameters behind; None if it is not.

    The model string itself is not checked.
    """
    name, mark, parameters = written.partition("%3F")
    named = name.replace("%3A", ":").replace("%2F", "/")
    if read_model_segment(name) is None and (
        has_unknown_prefix(named) or not _NAME_AFTER_BACKEND.fullmatch(named[:MODEL_LENGTH])
    ):
        return None
    return named + (f"?{parameters.replace('%3D', '=').replace('%26', '&')}" if mark else "")


def find(method: str, path: str) -> Operation | None:
    """Return the operation of a method and raw path, with its model decoded. None if an id or model is not valid."""
    return find_short(method, path) if len(path) <= LONGEST_CACHED_PATH else find_short.__wrapped__(method, path)


@lru_cache(maxsize=256)
def find_short(method: str, path: str) -> Operation | None:
    """Return the same for a short path. Cached, because most calls are to few models."""
    operation = ROUTES.find(method, path)
    if operation is None:
        # A path that calls a model is never read as anything else, in any spelling.
        return None if path.lower().startswith("/model/") else ROUTES.find_other(method, path)
    if operation.model is not None:
        read = read_model_string if operation.kind is Kind.INFERENCE else read_model_segment
        model = read(operation.model)
        return replace(operation, model=model, stream=operation.name in STREAMS) if model else None
    if "%" in path and not all(map(_is_id, path.split("/")[1:])):
        return None
    return replace(operation, stream=True) if operation.name in STREAMS else operation


def _is_id(segment: str) -> bool:
    return _ID.fullmatch(segment.replace("%3A", ":").replace("%2F", "/")) is not None


def read(operation: Operation, data: JsonObject) -> Facts:
    """Read what is asked of an agent or a knowledge base. The model is the one that writes the response.

    Others rank what was found, or turn the question into a filter.
    """
    if operation.kind is Kind.ADMINISTRATION:
        return Facts()
    refuse_lookalikes(data, _KEYS)
    if operation.name in _MODEL_MEMBERS:
        model = read_model(data, _MODEL_MEMBERS[operation.name])
        return Facts(model=model, stream=operation.stream)
    if operation.name not in READ:
        return Facts(stream=operation.stream)
    if operation.name == "invoke-agent":
        state = _within(data, "sessionState")
        sources = list(state.children("knowledgeBaseConfigurations")) if state else []
        models = others((name for source in sources for name in _searching_models(source)), None)
        return Facts(stream=True, message_count=1 if data.filled("inputText") else None, other_models=models)
    question = data.child("input" if operation.name in GENERATES else "retrievalQuery")
    count = 1 if question and question.filled("text") else None
    if operation.name == "retrieve":
        return Facts(message_count=count, other_models=others(_searching_models(data), None))
    configuration = _within(data, "retrieveAndGenerateConfiguration")
    if configuration is None:
        return Facts(message_count=count, stream=operation.stream)
    kind = one_of(configuration, "knowledgeBaseConfiguration", "externalSourcesConfiguration")
    source = _within(configuration, kind)
    model = read_model(source, "modelArn") if source else None
    config = _within(source, "generationConfiguration", "inferenceConfig", "textInferenceConfig")
    return Facts(
        model=model,
        stream=operation.stream,
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
