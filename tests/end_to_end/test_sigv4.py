"""Bedrock as AWS SDKs call it: signed with the agent's pair, verified, signed anew with the organisation's."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.exceptions
import pytest

from tests.raw_client import RawClient
from tests.running import KEY_ENVIRONMENT, SimulatorThread, Wirekey, behind
from wirekey.call import new_call_id

REAL = ("AKIAREALORGANISATION", "real-secret-of-the-organisation-41d0aa")
HOST = "bedrock-runtime.us-east-1.amazonaws.com"
MODELS = [
    "anthropic.claude-3-5-sonnet-20241022-v2:0",
    "us.amazon.nova-pro-v1:0",
    "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-3-5-sonnet-20241022-v2:0",
]
MESSAGES = [{"role": "user", "content": [{"text": "hello"}]}]
BODY = b'{"messages":[{"role":"user","content":[{"text":"hello"}]}]}'


@pytest.fixture(scope="module")
def aws_simulator(tmp_path_factory):
    running = SimulatorThread(tmp_path_factory.mktemp("simulator"), aws_credentials={REAL[0]: REAL[1]})
    yield running
    running.stop()


@pytest.fixture(scope="module")
def signing(tmp_path_factory, aws_simulator):
    configuration = behind(aws_simulator)
    configuration["providers"]["bedrock"]["credentials"] = {
        "access_key": "env:REAL_ID",
        "secret_key": "env:REAL_SECRET",
    }
    environ = {**KEY_ENVIRONMENT, "REAL_ID": REAL[0], "REAL_SECRET": REAL[1]}
    running = Wirekey(tmp_path_factory.mktemp("wirekey"), configuration, environ=environ)
    running.token = running.add_agent("alice", role="engineer")
    running.pair = running.book.pair("alice")
    running.add_agent("bob")
    running.began = new_call_id()
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def began(signing, aws_simulator, monkeypatch):
    for name in ("AWS_BEARER_TOKEN_BEDROCK", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", f"http://{signing.running.forward}")
    aws_simulator.forget()
    return new_call_id()


def bedrock(signing, pair=None, **options):
    access_key, secret = pair or (signing.pair.access_key, signing.pair.secret.reveal())
    return boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret,
        verify=str(signing.certs / "bundle.pem"),
        config=botocore.config.Config(retries={"total_max_attempts": 1}, **options),
    )


@pytest.mark.parametrize("model", MODELS)
def test_the_pair_is_the_identity_and_the_real_signature_is_on_the_wire_only(signing, aws_simulator, model, began):
    client = bedrock(signing)
    answer = client.converse(modelId=model, messages=MESSAGES)
    assert answer["usage"]["outputTokens"]
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


def test_invoke_and_its_stream_too(signing):
    body = '{"anthropic_version":"bedrock-2023-05-31","max_tokens":32,"messages":[{"role":"user","content":"hi"}]}'
    client = bedrock(signing)
    assert b"usage" in client.invoke_model(modelId=MODELS[0], body=body)["body"].read()
    stream = client.invoke_model_with_response_stream(modelId=MODELS[0], body=body)["body"]
    assert b"amazon-bedrock-invocationMetrics" in list(stream)[-1]["chunk"]["bytes"]


def test_the_agents_pair_is_worth_nothing_to_the_provider(signing, aws_simulator, monkeypatch):
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
def test_other_pairs_are_refused_in_awss_own_words(signing, aws_simulator, pair, code, began):
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        bedrock(signing, pair(signing.pair)).converse(modelId=MODELS[0], messages=MESSAGES)
    assert refused.value.response["Error"]["Code"] == code
    assert not aws_simulator.seen
    event = signing.finished_event(began)
    assert (event["outcome"], event["status"], event["agent_id"]) == ("denied", 403, None)


def test_a_signature_of_someone_else_does_no_harm_to_a_call_with_a_token(signing, aws_simulator, monkeypatch, began):
    monkeypatch.setenv("HTTPS_PROXY", signing.proxy_url("alice", signing.token))
    bedrock(signing, ("AKIAIOSFODNN7EXAMPLE", "of-someone-else")).converse(modelId=MODELS[0], messages=MESSAGES)
    assert "AKIAIOSFODNN7EXAMPLE" not in str(aws_simulator.seen[0].headers)
    assert signing.finished_event(began)["agent_id"] == "alice"


def test_a_token_of_one_agent_and_the_pair_of_another_are_refused(signing, aws_simulator, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", signing.proxy_url("bob", signing.book.issue_token("bob", "t", None)))
    with pytest.raises(botocore.exceptions.ClientError, match="two different agents"):
        bedrock(signing).converse(modelId=MODELS[0], messages=MESSAGES)
    assert not aws_simulator.seen


def signed_request(signing, path: str, body: bytes = BODY, **headers: str) -> list[str]:
    """The header lines of a request as botocore signs it."""
    request = botocore.awsrequest.AWSRequest(
        "POST", f"https://{HOST}{path}", data=body, headers={"Content-Type": "application/json", **headers}
    )
    credentials = botocore.credentials.Credentials(signing.pair.access_key, signing.pair.secret.reveal())
    botocore.auth.SigV4Auth(credentials, "bedrock", "us-east-1").add_auth(request)
    return [f"{name}: {value}" for name, value in request.headers.items()]


def send(signing, path: str, lines: list[str], body: bytes = BODY):
    with RawClient(signing.running.forward) as client:
        assert client.connect(f"{HOST}:443").status == 200
        client.start_tls(signing.root, HOST)
        head = [f"POST {path} HTTP/1.1", f"Host: {HOST}", *lines, f"Content-Length: {len(body)}"]
        client.send("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        return client.answer()


PATH = "/model/us.amazon.nova-pro-v1%3A0/converse"


def test_S8_a_body_that_was_not_signed_is_refused(signing, aws_simulator):
    lines = signed_request(signing, PATH)
    answer = send(signing, PATH, lines, BODY.replace(b"hello", b"jello"))
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (403, "InvalidSignatureException")
    assert not aws_simulator.seen


def test_S9_a_path_that_was_not_signed_is_refused(signing, aws_simulator):
    lines = signed_request(signing, PATH)
    assert send(signing, PATH.replace("nova-pro", "nova-lite"), lines).status == 403
    assert not aws_simulator.seen


def test_S2_a_signature_is_good_once(signing, aws_simulator):
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    lines = signed_request(signing, PATH, **{"amz-sdk-invocation-id": stamp, "amz-sdk-request": "attempt=1"})
    assert send(signing, PATH, lines).status == 200
    answer = send(signing, PATH, lines)
    assert answer.status == 403
    assert "used before" in answer.message
    assert len(aws_simulator.seen) == 1


@pytest.mark.parametrize("added", ["X-Amz-Evil: 1", "X-Amz-Content-SHA256: " + hashlib.sha256(b"other").hexdigest()])
def test_S3_headers_that_are_not_signed_are_refused(signing, aws_simulator, added):
    assert send(signing, PATH, [*signed_request(signing, PATH), added]).status == 403
    assert not aws_simulator.seen


def test_a_revoked_agents_pair_is_out(signing):
    signing.add_agent("dave")
    pair = signing.book.pair("dave")
    client = bedrock(signing, (pair.access_key, pair.secret.reveal()))
    client.converse(modelId=MODELS[0], messages=MESSAGES)
    signing.book.revoke("dave")
    from tests.running import wait_for

    def is_out():
        try:
            client.converse(modelId=MODELS[0], messages=MESSAGES)
        except botocore.exceptions.ClientError as error:
            return error.response["Error"]["Code"] == "UnrecognizedClientException"
        return False

    wait_for(is_out, "dave to be refused", patience=10)
