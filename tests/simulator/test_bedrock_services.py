"""Bedrock's catalogue, an agent and a knowledge base, as boto3 reads their responses."""

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from tests.simulator.requests import request
from tests.support.running import PROVIDER_KEYS
from wirekey_simulator.hosts import provider_of
from wirekey_simulator.text import TEXT

NOVA = "amazon.nova-lite-v1:0"
ASKED = {"agentId": "AGENT12345", "agentAliasId": "TSTALIASID", "sessionId": "s:1", "inputText": "hello"}


@pytest.fixture
def client(simulator, monkeypatch):
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", PROVIDER_KEYS["bedrock"])

    def make(service):
        made = boto3.client(
            service,
            region_name="us-east-1",
            endpoint_url=simulator.url,
            verify=str(simulator.ca_file),
            aws_access_key_id="none",
            aws_secret_access_key="none",
            config=Config(retries={"total_max_attempts": 1}),
        )
        if service == "bedrock-agent-runtime":
            # boto3 takes no API keys for this service, and the simulator knows no pair.
            bearer = f"Bearer {PROVIDER_KEYS['bedrock']}"
            made.meta.events.register("before-send", lambda request, **_: put_bearer(request, bearer))
        return made

    return make


def put_bearer(request, bearer):
    for name in ("X-Amz-Date", "Authorization"):
        del request.headers[name]
    request.headers["Authorization"] = bearer


def test_models_and_profiles_are_listed_and_described(client):
    bedrock = client("bedrock")
    assert NOVA in [model["modelId"] for model in bedrock.list_foundation_models()["modelSummaries"]]
    model = bedrock.get_foundation_model(modelIdentifier=NOVA)["modelDetails"]
    assert (model["providerName"], model["modelLifecycle"]["status"]) == ("Amazon", "ACTIVE")
    assert bedrock.get_foundation_model(modelIdentifier=model["modelArn"])["modelDetails"] == model
    profile = bedrock.list_inference_profiles()["inferenceProfileSummaries"][0]
    by_arn = bedrock.get_inference_profile(inferenceProfileIdentifier=profile["inferenceProfileArn"])
    assert by_arn["inferenceProfileId"] == profile["inferenceProfileId"] == f"us.{NOVA}"
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        bedrock.get_inference_profile(inferenceProfileIdentifier="us.none")


def test_a_knowledge_base_responds(client):
    agents = client("bedrock-agent-runtime")
    found = agents.retrieve(knowledgeBaseId="KB12345678", retrievalQuery={"text": "what"})["retrievalResults"]
    assert found[0]["content"]["text"]
    assert agents.retrieve_and_generate(input={"text": "what"})["output"]["text"] == TEXT


def test_an_agent_responds_with_a_stream(client, simulator):
    agents = client("bedrock-agent-runtime")
    response = agents.invoke_agent(**ASKED)
    assert response["sessionId"] == "s:1"
    assert b"".join(event["chunk"]["bytes"] for event in response["completion"]).decode() == TEXT
    simulator.simulator.script.add("error-after=1")
    with pytest.raises(EventStreamError, match="throttling"):
        list(agents.invoke_agent(**ASKED)["completion"])


@pytest.mark.parametrize(
    "host",
    [
        "bedrock.eu-west-1.amazonaws.com",
        "bedrock-runtime-fips.us-gov-west-1.amazonaws.com:443",
        "bedrock-agent-runtime.us-east-1.api.aws",
        "bedrock-runtime.cn-north-1.amazonaws.com.cn",
    ],
)
def test_every_name_of_bedrock_is_recognised(host):
    assert provider_of(request("GET", "/", authority=host)) == "bedrock"


def test_other_names_under_amazonaws_belong_to_no_provider():
    assert provider_of(request("GET", "/", authority="s3.us-east-1.amazonaws.com")) is None
