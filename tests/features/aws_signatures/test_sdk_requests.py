"""What boto3 itself sends verifies: each operation, each spelling of a model id."""

import contextlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import quote, unquote

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.features.aws_signatures.verifying import verify
from tests.support.signed_requests import ACCESS_KEY, SECRET, sha256, signed
from wirekey.core.secret import Secret
from wirekey.core.signing.refusal import SignatureRefused
from wirekey.core.signing.request import Endpoint, RequestHead, SigV4Credentials
from wirekey.core.signing.signature_parsing import has_signature
from wirekey.features.aws_signatures.replay import ReplayWindow
from wirekey.features.aws_signatures.verify import Verifier

MODELS = [
    "anthropic.claude-3-5-sonnet-20241022-v2:0",
    "us.amazon.nova-pro-v1:0",
    "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-20250514-v1:0",
    "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3d4e5f6",
    "amazon.titan-text-express-v1",
]
CONVERSE = {"messages": [{"role": "user", "content": [{"text": "héllo"}]}]}
INVOKE = {"body": json.dumps({"prompt": "hello"})}
OPERATIONS = [
    ("converse", CONVERSE),
    ("converse_stream", CONVERSE),
    ("invoke_model", INVOKE),
    ("invoke_model", INVOKE | {"trace": "ENABLED", "guardrailIdentifier": "g", "guardrailVersion": "1"}),
    ("invoke_model_with_response_stream", INVOKE),
]


def sent(operation, arguments, service="bedrock-runtime", **options):
    """Return head and body of what boto3 would send, and the time that it was signed at."""
    taken = []

    def take(request, **_):
        taken.append(request)
        return AWSResponse(request.url, 403, {}, RawBody())

    client = boto3.client(
        service,
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET,
        config=Config(retries={"total_max_attempts": 1}),
        **options,
    )
    client.meta.events.register("before-send", take)
    with pytest.raises(client.exceptions.ClientError):
        getattr(client, operation)(**arguments)
    request = taken[0]
    scheme, _, rest = request.url.partition("://")
    host, _, target = rest.partition("/")
    headers = [(n.encode(), v if isinstance(v, bytes) else v.encode()) for n, v in request.headers.items()]
    head = RequestHead(
        request.method, f"/{target}".encode(), [(b"Host", host.encode()), *headers], tls=scheme == "https"
    )
    return head, request.body or b""


class RawBody:
    def stream(self, *_, **__):
        return iter([b"{}"])


def verified(head, body):
    date = next(value.decode() for name, value in head.headers if name == b"X-Amz-Date")
    signed_at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    pair = SigV4Credentials(ACCESS_KEY, Secret(SECRET))
    return Verifier({ACCESS_KEY: pair}.get).verify(head, sha256(body), Endpoint("us-east-1"), signed_at)


@pytest.fixture(autouse=True)
def _no_credentials_of_this_machine(monkeypatch):
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK", raising=False)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("operation", "arguments"), OPERATIONS)
def test_what_boto3_sends_verifies(operation, arguments, model):
    head, body = sent(operation, arguments | {"modelId": model})
    assert quote(model, safe="") in head.target.decode()
    assert has_signature(head)
    found = verified(head, body)
    assert (found.payload_signed, found.numbered) == (True, False)
    with pytest.raises(SignatureRefused):
        verified(replace(head, target=head.target.replace(b"/model/", b"/model/x")), body)


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:8000", "http://localhost:8000/api/v1/bedrock", "https://[::1]:8443"]
)
def test_what_boto3_sends_to_a_gateway_verifies(endpoint):
    assert verified(*sent("converse", CONVERSE | {"modelId": MODELS[0]}, endpoint_url=endpoint))


def test_the_list_of_models_verifies_with_its_query():
    head, body = sent("list_foundation_models", {"byProvider": "Amazon & more/ü"}, "bedrock")
    assert b"?byProvider=Amazon%20%26%20more%2F%C3%BC" in head.target
    assert verified(head, body)


def test_equal_calls_of_boto3_in_one_second_differ_from_a_replay_by_their_sender(monkeypatch):
    moment = datetime.now(UTC)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_, **__: moment)
    (first, body), (second, _) = (sent("converse", CONVERSE | {"modelId": MODELS[0]}) for _ in range(2))
    assert dict(first.headers)[b"amz-sdk-invocation-id"] != dict(second.headers)[b"amz-sdk-invocation-id"]
    assert dict(first.headers)[b"Authorization"] == dict(second.headers)[b"Authorization"]
    window, now = ReplayWindow(), moment.timestamp()
    window.admit(verified(first, body), "10.0.0.1", now)
    window.admit(verified(second, body), "10.0.0.1", now + 1)
    with pytest.raises(SignatureRefused):
        window.admit(verified(second, body), "10.0.0.2", now + 1)


SPELLINGS = [
    "a:0",
    "a%3A0",
    "arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fb",
    "arn:aws:bedrock:us-east-1:1:inference-profile/b",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_each_spelling_of_a_model_id_verifies_as_it_was_sent_and_as_no_other_model(spelling):
    head = signed(f"/model/{spelling}/converse")
    assert head.target == f"/model/{spelling}/converse".encode()
    assert verify(head)
    for other in SPELLINGS:
        if unquote(other) != unquote(spelling):
            with pytest.raises(SignatureRefused):
                verify(replace(head, target=f"/model/{other}/converse".encode()))


class SignedAsSent(SigV4Auth):
    """The path encoded once, as curl 7 signs it."""

    def _normalize_url_path(self, path):
        return path


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_path_signed_as_it_was_sent_verifies(spelling):
    head = signed(f"/model/{spelling}/converse", auth=SignedAsSent)
    assert verify(head)
    with pytest.raises(SignatureRefused):
        verify(replace(head, target=head.target.replace(b"/model/", b"/model/x")))


@pytest.mark.parametrize(
    "path", ["/model/é/converse", "/model/a b/converse", "/model/a%253A0/converse", "/model//a/converse"]
)
def test_a_path_signed_as_it_was_sent_is_refused_where_it_can_be_read_in_two_ways(path):
    with pytest.raises(SignatureRefused):
        verify(signed(path, auth=SignedAsSent))


@pytest.mark.parametrize("auth", [SigV4Auth, SignedAsSent])
@pytest.mark.parametrize(
    ("sent", "arrived"),
    [
        ("/model/a%3A0/x", "/model/a%253A0/x"),
        ("/model/a%253A0/x", "/model/a%3A0/x"),
        ("/model/a%253A0/x", "/model/a%25253A0/x"),
        ("/model/a%2Fb/x", "/model/a/b/x"),
        ("/model/a/b/x", "/model/a%2Fb/x"),
        ("/model/a%2Fb/x", "/model/a%252Fb/x"),
    ],
)
def test_no_signature_is_good_for_two_paths_that_mean_different_things(auth, sent, arrived):
    good = good_for(signed(sent, auth=auth), sent, arrived)
    assert len(good) == 1 or auth is SignedAsSent
    assert good != {sent, arrived}


def good_for(head, *targets):
    """Return the targets with which the signature of the request is valid."""
    good = set()
    for target in targets:
        with contextlib.suppress(SignatureRefused):
            good |= {target} if verify(replace(head, target=target.encode())) else set()
    return good


@settings(max_examples=500)
@given(
    st.lists(st.sampled_from(["a", "/", ":", "%3A", "%2F", "%25", "25", "3A", "%253A"]), max_size=6).map("".join),
    st.data(),
)
def test_all_paths_that_a_signature_is_good_for_mean_the_same(path, data):
    sent = "/m/" + path
    others = [sent.replace("%", "%25"), sent.replace("%25", "%"), quote(sent), unquote(sent)]
    good = good_for(signed(sent, auth=data.draw(st.sampled_from([SigV4Auth, SignedAsSent]))), sent, *others)
    assert len({tuple(unquote(part) for part in target.split("/")) for target in good}) <= 1
