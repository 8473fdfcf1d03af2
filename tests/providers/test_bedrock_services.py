"""Bedrock's catalogue, agents and knowledge bases: operations, their services and their facts."""

import json

import boto3
import pytest
from botocore.eventstream import EventStream
from botocore.exceptions import EventStreamError
from botocore.parsers import EventStreamJSONParser
from tests.providers.test_bedrock import ARN

from wirekey.core.body import Body
from wirekey.core.errors import Refusal
from wirekey.core.metering.eventstream import write_frame
from wirekey.core.operation import Facts, Kind, Operation
from wirekey.providers.bedrock import BEDROCK
from wirekey.providers.bedrock.responses import EVENT_STREAM
from wirekey.providers.bedrock.services import ACTIONS, service_of

TEXT = "/agents/AGENT12345/agentAliases/TSTALIASID/sessions/session-1/text"

TABLE = [
    # operation of AWS, its arguments, what is recognised
    ("bedrock", "list_foundation_models", {"byProvider": "amazon"}, "list-foundation-models", None),
    ("bedrock", "get_foundation_model", {"modelIdentifier": "amazon.nova-lite-v1:0"}, "get-foundation-model", 0),
    ("bedrock", "list_inference_profiles", {"maxResults": 5}, "list-inference-profiles", None),
    ("bedrock", "get_inference_profile", {"inferenceProfileIdentifier": ARN}, "get-inference-profile", 0),
    (
        "bedrock-agent-runtime",
        "retrieve",
        {"knowledgeBaseId": "KB12345678", "retrievalQuery": {"text": "x"}},
        "retrieve",
        None,
    ),
    ("bedrock-agent-runtime", "retrieve_and_generate", {"input": {"text": "x"}}, "retrieve-and-generate", None),
    (
        "bedrock-agent-runtime",
        "invoke_agent",
        {"agentId": "AGENT12345", "agentAliasId": "TSTALIASID", "sessionId": "a.b:c_d-1", "inputText": "x"},
        "invoke-agent",
        None,
    ),
]
KINDS = {"bedrock": (Body.NONE, Kind.LISTING), "bedrock-agent-runtime": (Body.JSON, Kind.STORAGE)}


def sent(service, method, arguments):
    """Return method and path as boto3 sends them."""
    client = boto3.client(service, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    seen = []

    def stop(request, **_):
        seen.append((request.method, request.url.partition("amazonaws.com")[2].partition("?")[0]))
        raise ZeroDivisionError

    client.meta.events.register("before-send", stop)
    with pytest.raises(ZeroDivisionError):
        getattr(client, method)(**arguments)
    return seen[0]


@pytest.mark.parametrize(("service", "method", "arguments", "name", "model"), TABLE, ids=[row[3] for row in TABLE])
def test_requests_of_boto3_are_recognised(service, method, arguments, name, model):
    found = BEDROCK.operations.match_operation(*sent(service, method, arguments), {})
    body, kind = KINDS[service]
    wanted = list(arguments.values())[model] if model is not None else None
    assert found == Operation(name, body, kind, wanted, name == "invoke-agent")
    assert service_of(name) == service


@pytest.mark.parametrize("action", ACTIONS)
def test_all_other_operations_belong_to_the_runtime(action):
    assert service_of(action) == "bedrock-runtime"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("HEAD", "/foundation-models"),
        ("GET", "/foundation-models/"),
        ("GET", "/foundation-models/.."),
        ("GET", "/foundation-models/a%2Fb"),
        ("GET", "/foundation-models/a%2fb"),
        ("GET", "/inference-profiles/arn:aws:iam:us-east-1:1:role%2Fx"),
        ("POST", "/knowledgebases/../retrieve"),
        ("POST", "/retrieveandgenerate"),
        ("POST", TEXT.replace("session-1", "..")),
        ("POST", TEXT.replace("session-1", "%2E%2E")),
        ("POST", TEXT.replace("session-1", "a%2Fb")),
        ("POST", TEXT + "/"),
    ],
)
def test_other_methods_and_odd_spellings_are_not_operations(method, path):
    assert BEDROCK.operations.match_operation(method, path, {}) is None


def read(path, body):
    operation = BEDROCK.operations.match_operation("POST", path, {})
    return BEDROCK.operations.read_request(operation, {}, "application/json", json.dumps(body).encode())


def generate(source, **members):
    return {"input": {"text": "x"}, "retrieveAndGenerateConfiguration": {"type": "X", source: members}}


RANKING = {"bedrockRerankingConfiguration": {"modelConfiguration": {"modelArn": "amazon.rerank-v1:0"}}}
SEARCH = {
    "retrievalConfiguration": {
        "vectorSearchConfiguration": {
            "implicitFilterConfiguration": {"modelArn": "anthropic.claude-3-5-sonnet-20241022-v2:0"},
            "rerankingConfiguration": {"type": "BEDROCK_RERANKING_MODEL", **RANKING},
        },
        "managedSearchConfiguration": {"rerankingConfiguration": RANKING},
    }
}
SEARCHING = ("anthropic.claude-3-5-sonnet-20241022-v2:0", "amazon.rerank-v1:0")
LIMIT = {"generationConfiguration": {"inferenceConfig": {"textInferenceConfig": {"maxTokens": 70}}}}
FACTS = [
    (TEXT, {"inputText": "x", "enableTrace": True}, Facts(stream=True, message_count=1)),
    (TEXT, {"endSession": True}, Facts(stream=True)),
    ("/knowledgebases/KB/retrieve", {"retrievalQuery": {"text": "x"}}, Facts(message_count=1)),
    ("/retrieveAndGenerate", {"input": {"text": "x"}}, Facts(message_count=1)),
    (
        "/retrieveAndGenerate",
        generate("knowledgeBaseConfiguration", knowledgeBaseId="KB", modelArn=ARN, **LIMIT),
        Facts(model=ARN, message_count=1, max_tokens=70),
    ),
    (
        "/retrieveAndGenerate",
        generate("externalSourcesConfiguration", modelArn="amazon.nova-lite-v1:0"),
        Facts(model="amazon.nova-lite-v1:0", message_count=1),
    ),
    ("/knowledgebases/KB/retrieve", SEARCH, Facts(other_models=SEARCHING)),
    (
        "/retrieveAndGenerate",
        generate("knowledgeBaseConfiguration", modelArn=ARN, **SEARCH),
        Facts(model=ARN, other_models=SEARCHING, message_count=1),
    ),
    (
        TEXT,
        {"sessionState": {"knowledgeBaseConfigurations": [{"knowledgeBaseId": "KB", **SEARCH}]}},
        Facts(stream=True, other_models=SEARCHING),
    ),
]


@pytest.mark.parametrize(("path", "body", "facts"), FACTS)
def test_facts(path, body, facts):
    assert read(path, body) == facts


@pytest.mark.parametrize(
    "body",
    [
        generate("knowledgeBaseConfiguration", modelArn=7),
        generate("knowledgeBaseConfiguration", modelArn="a\nb"),
        {
            "retrieveAndGenerateConfiguration": {
                "knowledgeBaseConfiguration": {"modelArn": "a"},
                "externalSourcesConfiguration": {"modelArn": "b"},
            }
        },
        [],
    ],
)
def test_a_request_with_an_ambiguous_model_is_refused(body):
    with pytest.raises(Refusal) as caught:
        read("/retrieveAndGenerate", body)
    assert caught.value.status == 400


def reader_of(path, method="POST", content_type=EVENT_STREAM):
    operation = BEDROCK.operations.match_operation(method, path, {})
    return BEDROCK.operations.response_reader(operation, Facts(), 200, content_type, {})


def test_an_agents_stream_needs_no_last_event_and_fails_with_an_exception():
    whole, failed = reader_of(TEXT), reader_of(TEXT)
    chunk = write_frame({":event-type": "chunk", ":message-type": "event"}, b'{"bytes":"eA=="}')
    whole.feed(chunk)
    whole.end()
    assert (whole.finished, whole.error_type) == (True, None)
    exception = write_frame({":exception-type": "throttlingException", ":message-type": "exception"}, b"{}")
    for byte in chunk + exception:
        failed.feed(bytes([byte]))
    assert (failed.finished, failed.error_type) == (False, "throttlingException")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/foundation-models"), ("POST", "/retrieveAndGenerate"), ("POST", "/knowledgebases/KB/retrieve")],
)
def test_other_responses_have_no_reader(method, path):
    assert reader_of(path, method, "application/json") is None


@pytest.mark.parametrize("status", [400, 403, 413, 429, 500, 502, 503, 504])
def test_a_refusal_inside_an_agents_stream_raises_in_the_sdk(status):
    operation = BEDROCK.operations.match_operation("POST", TEXT, {})
    data = BEDROCK.operations.stream_error(Refusal(status, "x", "The words."), operation, EVENT_STREAM)

    class Raw:
        def stream(self, *_, **__):
            yield data

    shape = boto3.client("bedrock-agent-runtime", region_name="us-east-1").meta.service_model.shape_for(
        "ResponseStream"
    )
    with pytest.raises(EventStreamError, match="The words"):
        list(EventStream(Raw(), shape, EventStreamJSONParser(), "InvokeAgent"))
