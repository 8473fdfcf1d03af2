"""Bedrock as AWS SDKs call it: signed with the agent's pair, verified, signed again with the organisation's."""

from __future__ import annotations

import boto3
import botocore.config
import botocore.exceptions
import pytest

from tests.support.aws_signing import MODELS, REAL, signing_simulator, signing_wirekey
from tests.support.running import wait_for
from wirekey.core.call import new_call_id

MESSAGES = [{"role": "user", "content": [{"text": "hello"}]}]


@pytest.fixture(scope="module")
def aws_simulator(tmp_path_factory):
    running = signing_simulator(tmp_path_factory.mktemp("simulator"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def signing(tmp_path_factory, aws_simulator):
    with signing_wirekey(tmp_path_factory.mktemp("wirekey"), aws_simulator) as running:
        yield running


@pytest.fixture(autouse=True)
def began(signing, aws_simulator, monkeypatch):
    for name in ("AWS_BEARER_TOKEN_BEDROCK", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", f"http://{signing.running.forward}")
    aws_simulator.forget()
    began = new_call_id()
    # Something else in each test: equal calls of one second are signed alike, and on a busy machine one may come late.
    MESSAGES[0]["content"][0]["text"] = f"hello {began}"
    return began


def bedrock(signing, pair=None, service="bedrock-runtime", endpoint_url=None, region="us-east-1", **options):
    access_key, secret = pair or (signing.pair.access_key, signing.pair.secret.reveal())
    return boto3.client(
        service,
        endpoint_url=endpoint_url,
        region_name=region,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret,
        verify=str(signing.certs / "bundle.pem"),
        config=botocore.config.Config(retries={"total_max_attempts": 1}, **options),
    )


@pytest.mark.parametrize("model", MODELS)
def test_the_pair_is_the_identity_and_only_the_wire_has_the_real_signature(signing, aws_simulator, model, began):
    client = bedrock(signing)
    response = client.converse(modelId=model, messages=MESSAGES)
    assert response["usage"]["outputTokens"]
    pieces = list(client.converse_stream(modelId=model, messages=MESSAGES)["stream"])
    assert "metadata" in pieces[-1]
    for seen in aws_simulator.seen:
        text = str(seen.headers) + seen.target
        assert REAL[0] in text
        assert signing.pair.access_key not in text
    events = signing.finished_events(2, began)
    assert [(event["agent_id"], event["credential"], event["outcome"]) for event in events] == [
        ("alice", "bedrock/aws", "completed")
    ] * 2


def test_invoke_and_its_stream_are_signed(signing):
    body = '{"anthropic_version":"bedrock-2023-05-31","max_tokens":32,"messages":[{"role":"user","content":"hi"}]}'
    client = bedrock(signing)
    assert b"usage" in client.invoke_model(modelId=MODELS[0], body=body)["body"].read()
    stream = client.invoke_model_with_response_stream(modelId=MODELS[0], body=body)["body"]
    assert b"amazon-bedrock-invocationMetrics" in list(stream)[-1]["chunk"]["bytes"]


def test_the_provider_rejects_the_agents_pair(signing, aws_simulator, monkeypatch):
    monkeypatch.delenv("HTTPS_PROXY")
    client = boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=aws_simulator.url,
        aws_access_key_id=signing.pair.access_key,
        aws_secret_access_key=signing.pair.secret.reveal(),
        verify=str(aws_simulator.ca_file),
    )
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        client.converse(modelId=MODELS[0], messages=MESSAGES)
    assert refused.value.response["Error"]["Code"] == "UnrecognizedClientException"


@pytest.mark.parametrize(
    ("pair", "code"),
    [
        (lambda pair: (pair.access_key, "not-the-secret" * 3), "InvalidSignatureException"),
        (lambda pair: ("WKEY" + "A" * 16, pair.secret.reveal()), "UnrecognizedClientException"),
        (lambda _: ("AKIAIOSFODNN7EXAMPLE", "of-someone-else"), "UnrecognizedClientException"),
        (lambda _: REAL, "UnrecognizedClientException"),
    ],
)
def test_other_pairs_are_refused_with_the_error_codes_of_aws(signing, aws_simulator, pair, code, began):
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        bedrock(signing, pair(signing.pair)).converse(modelId=MODELS[0], messages=MESSAGES)
    assert refused.value.response["Error"]["Code"] == code
    assert not aws_simulator.seen
    event = signing.finished_event(began)
    assert (event["outcome"], event["status"], event["agent_id"]) == ("denied", 403, None)


def test_a_foreign_signature_is_ignored_on_a_call_with_a_token(signing, aws_simulator, monkeypatch, began):
    monkeypatch.setenv("HTTPS_PROXY", signing.proxy_url("alice", signing.token))
    bedrock(signing, ("AKIAIOSFODNN7EXAMPLE", "of-someone-else")).converse(modelId=MODELS[0], messages=MESSAGES)
    assert "AKIAIOSFODNN7EXAMPLE" not in str(aws_simulator.seen[0].headers)
    assert signing.finished_event(began)["agent_id"] == "alice"


def test_a_token_of_one_agent_and_the_pair_of_another_are_refused(signing, aws_simulator, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", signing.proxy_url("bob", signing.agents.issue_token("bob", "t", None)))
    with pytest.raises(botocore.exceptions.ClientError, match="two different agents"):
        bedrock(signing).converse(modelId=MODELS[0], messages=MESSAGES)
    assert not aws_simulator.seen


@pytest.mark.parametrize(
    ("service", "endpoint"),
    [
        ("bedrock", "bedrock-runtime"),
        ("bedrock", "bedrock-agent-runtime"),
        ("bedrock-runtime", "bedrock"),
        ("bedrock-runtime", "bedrock-agent-runtime"),
        ("bedrock-agent-runtime", "bedrock-runtime"),
    ],
)
def test_an_operation_of_another_service_than_the_hosts_is_refused(signing, aws_simulator, service, endpoint, began):
    client = bedrock(signing, service=service, endpoint_url=f"https://{endpoint}.us-east-1.amazonaws.com")
    with pytest.raises(botocore.exceptions.ClientError, match=rf"is an operation of {service}, ") as refused:
        first_call(service, client)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    assert not aws_simulator.seen
    assert signing.finished_event(began)["policy_reason"].startswith("unknown_operation: ")


@pytest.mark.parametrize("service", ["bedrock", "bedrock-runtime", "bedrock-agent-runtime"])
@pytest.mark.parametrize("options", [{}, {"use_fips_endpoint": True}], ids=["usual", "fips"])
def test_each_service_is_called_by_its_own_names(signing, aws_simulator, service, options):
    first_call(service, bedrock(signing, service=service, **options))
    assert REAL[0] in str(aws_simulator.seen[0].headers)


def first_call(service, client):
    match service:
        case "bedrock":
            client.list_foundation_models()
        case "bedrock-runtime":
            client.converse(modelId=MODELS[0], messages=MESSAGES)
        case _:
            client.retrieve(knowledgeBaseId="KB12345678", retrievalQuery={"text": "hello"})


def test_a_revoked_agents_pair_is_refused(signing):
    signing.add_agent("dave")
    pair = signing.agents.pair("dave")
    client = bedrock(signing, (pair.access_key, pair.secret.reveal()))
    client.converse(modelId=MODELS[0], messages=MESSAGES)
    signing.agents.revoke("dave")

    def is_out():
        try:
            client.converse(modelId=MODELS[0], messages=MESSAGES)
        except botocore.exceptions.ClientError as error:
            return error.response["Error"]["Code"] == "UnrecognizedClientException"
        return False

    wait_for(is_out, "dave to be refused", patience=10)


# Other partitions and names: of each the region is the signature's, and the CA covers it.


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory, aws_simulator):
    regions = ["us-west-2", "us-gov-west-1", "cn-north-1"]
    folder = tmp_path_factory.mktemp("everywhere")
    more = {"bedrock": {"regions": regions}, "egress": {"other_hosts": "deny"}}
    with signing_wirekey(folder, aws_simulator, **more) as running:
        yield running


@pytest.fixture
def through_it(everywhere, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", f"http://{everywhere.running.forward}")
    return everywhere


@pytest.mark.parametrize(
    ("region", "options", "host"),
    [
        ("us-gov-west-1", {}, "bedrock-runtime.us-gov-west-1.amazonaws.com"),
        ("us-gov-west-1", {"use_fips_endpoint": True}, "bedrock-runtime-fips.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", {}, "bedrock-runtime.cn-north-1.amazonaws.com.cn"),
        ("us-west-2", {"use_dualstack_endpoint": True}, "bedrock-runtime.us-west-2.api.aws"),
        (
            "us-west-2",
            {"use_dualstack_endpoint": True, "use_fips_endpoint": True},
            "bedrock-runtime-fips.us-west-2.api.aws",
        ),
    ],
)
def test_each_partition_and_name_is_called_and_signed_for_its_region(through_it, aws_simulator, region, options, host):
    client = bedrock(through_it, region=region, **options)
    assert client.meta.endpoint_url == f"https://{host}"
    assert client.converse(modelId="amazon.nova-pro-v1:0", messages=MESSAGES)["usage"]["outputTokens"]
    (signature,) = [value for name, value in aws_simulator.seen[0].headers if name.lower() == b"authorization"]
    assert b"Credential=" + REAL[0].encode() in signature
    assert f"/{region}/bedrock/aws4_request".encode() in signature


def test_a_region_that_is_not_allowed_gets_no_signature(through_it, aws_simulator):
    with pytest.raises(botocore.exceptions.ProxyConnectionError):
        bedrock(through_it, region="eu-west-1").converse(modelId=MODELS[0], messages=MESSAGES)
    assert aws_simulator.seen == []
