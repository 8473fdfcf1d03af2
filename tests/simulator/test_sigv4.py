import json
from datetime import UTC, datetime

import boto3
import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.simulator.requests import request
from tests.support.running import PROVIDER_KEYS, SimulatorThread
from wirekey_simulator.sigv4 import MISMATCH, Account, is_signed, signature_rejection

NOW = 1_772_600_767.0
STAMP = "20260304T050607Z"
ACCOUNTS = {"AKIAREAL": "real-secret", "ASIAREAL": Account("temporary-secret", "session-token", NOW + 100)}
HOST = "bedrock-runtime.us-east-1.amazonaws.com"
BODY = b'{"messages": []}'
CONVERSE = [{"role": "user", "content": [{"text": "Say hello"}]}]
TOKEN = "The security token included in the request is "
MODEL = "anthropic.claude-3-5-sonnet-20241022-v2:0"


def signed(monkeypatch, key="AKIAREAL", secret="real-secret", token=None, scope=("bedrock", "us-east-1"), **extra):
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_, **__: datetime.fromtimestamp(NOW, UTC))
    target = "/model/a%3A0/converse?b=2&a="
    made = AWSRequest("POST", f"https://{HOST}{target}", headers={"X-Amz-Target": "a  b", **extra}, data=BODY)
    SigV4Auth(Credentials(key, secret, token), *scope).add_auth(made)
    return request("POST", target, BODY, {"host": HOST, **dict(made.headers.items())}, HOST)


def changed(arrived, **replaced):
    """Return the request with changed headers. None removes one."""
    headers = {name.decode(): value.decode() for name, value in arrived.headers}
    for name, value in replaced.items():
        spelt = next((other for other in headers if other.lower() == name.replace("_", "-")), name.replace("_", "-"))
        headers.pop(spelt, None)
        if value is not None:
            headers[spelt] = value(arrived.header(spelt.lower())) if callable(value) else value
    return request(arrived.method, arrived.target, arrived.body, headers, arrived.authority)


def kind_of(arrived, now=NOW):
    refused = signature_rejection(arrived, ACCOUNTS, lambda: now)
    return refused and refused.kind


def test_a_signature_made_with_the_real_pair_is_good(monkeypatch):
    arrived = signed(monkeypatch)
    assert arrived.header("x-amz-date") == STAMP
    assert is_signed(arrived)
    assert kind_of(arrived) is None
    assert kind_of(signed(monkeypatch, "ASIAREAL", "temporary-secret", "session-token")) is None


INVALID, INCOMPLETE = "InvalidSignatureException", "IncompleteSignatureException"
UNRECOGNIZED, MISSING = "UnrecognizedClientException", "MissingAuthenticationTokenException"


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"authorization": None}, MISSING),
        ({"authorization": "AWS4-HMAC-SHA256 Credential=a"}, INCOMPLETE),
        ({"authorization": "AWS4-ECDSA-P256-SHA256 Credential=a"}, INCOMPLETE),
        ({"x_amz_date": None}, INCOMPLETE),
        ({"x_amz_date": "20260304T050608Z"}, INVALID),
        ({"x_amz_date": "20260305T050607Z"}, INVALID),
        ({"x_amz_target": "b"}, INVALID),
        ({"x_amz_acl": "unsigned"}, INVALID),
        ({"x_amz_security_token": "stray"}, INVALID),
        ({"host": "other"}, INVALID),
        ({"authorization": lambda value: value.replace("/us-east-1/", "/us-west-2/")}, INVALID),
        ({"authorization": lambda value: value.replace("/bedrock/", "/sts/")}, INVALID),
        ({"authorization": lambda value: value.replace("aws4_request", "aws4_requests")}, INVALID),
        ({"authorization": lambda value: value.replace("host;", "")}, INVALID),
        ({"authorization": lambda value: value.replace("AKIAREAL", "WKEYAGENT")}, UNRECOGNIZED),
        ({"authorization": lambda value: value[:-4] + "0000"}, INVALID),
    ],
)
def test_a_changed_request_is_refused_with_the_code_of_aws(monkeypatch, change, kind):
    assert kind_of(changed(signed(monkeypatch), **change)) == kind


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"secret": "another"}, INVALID),
        ({"scope": ("bedrock", "eu-west-1")}, INVALID),
        ({"scope": ("bedrock-runtime", "us-east-1")}, INVALID),
        ({"key": "WKEYAGENT"}, UNRECOGNIZED),
        ({"token": "unasked-for"}, UNRECOGNIZED),
        ({"key": "ASIAREAL", "secret": "temporary-secret"}, UNRECOGNIZED),
        ({"key": "ASIAREAL", "secret": "temporary-secret", "token": "another"}, UNRECOGNIZED),
        ({"x-amz-content-sha256": "0" * 64}, INVALID),
    ],
)
def test_a_signature_of_another_key_or_for_another_request_is_refused_with_the_code_of_aws(monkeypatch, options, kind):
    assert kind_of(signed(monkeypatch, **options)) == kind


@pytest.mark.parametrize(("late", "kind"), [(300, None), (301, INVALID), (-300, None), (-301, INVALID)])
def test_clocks_may_differ_by_five_minutes(monkeypatch, late, kind):
    assert kind_of(signed(monkeypatch), NOW + late) == kind


def test_an_expired_session_has_another_error_than_a_wrong_one(monkeypatch):
    arrived = signed(monkeypatch, "ASIAREAL", "temporary-secret", "session-token")
    assert kind_of(arrived, NOW + 101) == "ExpiredTokenException"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    accounts = {"AKIAREAL": "real-secret", "ASIAREAL": Account("temporary-secret", "session-token", expires_at=1.0)}
    thread = SimulatorThread(tmp_path_factory.mktemp("simulator"), aws_credentials=accounts)
    yield thread
    thread.stop()


def client(running, monkeypatch, access_key, secret, token=None):
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK", raising=False)
    return boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=running.url,
        verify=str(running.ca_file),
        aws_access_key_id=access_key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(retries={"total_max_attempts": 1}),
    )


def test_boto3_with_the_real_pair_gets_a_response(running, monkeypatch):
    bedrock = client(running, monkeypatch, "AKIAREAL", "real-secret")
    assert bedrock.converse(modelId=MODEL, messages=CONVERSE)["stopReason"] == "end_turn"
    assert list(bedrock.converse_stream(modelId=MODEL, messages=CONVERSE)["stream"])
    assert bedrock.invoke_model(modelId=MODEL, body=json.dumps({
        "anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}],
    }))["ResponseMetadata"]["HTTPStatusCode"] == 200  # fmt: skip


@pytest.mark.parametrize(
    ("pair", "code", "sentence"),
    [
        (("AKIAREAL", "another"), "InvalidSignatureException", MISMATCH),
        (("WKEYAGENT", "real-secret"), "UnrecognizedClientException", TOKEN + "invalid."),
        (("ASIAREAL", "temporary-secret", "session-token"), "ExpiredTokenException", TOKEN + "expired"),
    ],
)  # fmt: skip
def test_boto3_raises_the_error_that_aws_gives(running, monkeypatch, pair, code, sentence):
    with pytest.raises(ClientError) as raised:
        client(running, monkeypatch, *pair).converse(modelId=MODEL, messages=CONVERSE)
    assert raised.value.response["Error"] == {"Code": code, "Message": sentence}
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_with_signatures_the_api_key_still_works_and_a_missing_credential_is_refused(running, monkeypatch):
    def status(**headers):
        with httpx.Client(verify=str(running.ca_file), trust_env=False) as http:
            response = http.post(f"{running.url}/model/a/converse", headers=headers, json={"messages": CONVERSE})
            return response.status_code, response.headers.get("x-amzn-errortype", "").partition(":")[0]

    assert status(authorization=f"Bearer {PROVIDER_KEYS['bedrock']}") == (200, "")
    assert status() == (403, "MissingAuthenticationTokenException")
    assert status(authorization="AWS4-HMAC-SHA256 x") == (403, "IncompleteSignatureException")
