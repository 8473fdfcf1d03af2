"""Client-supplied AWS credentials, and headers of Bedrock that are not credentials."""

import pytest

from wirekey.core.credentials.client_supplied_aws import ClientAwsCredentials, client_aws_credentials
from wirekey.core.errors import Refusal
from wirekey.core.identity.aws_pairs import key_pair
from wirekey.core.secret import Secret
from wirekey.core.signing.request import SigV4Credentials
from wirekey.providers.credential_headers import is_credential_header

OURS = key_pair(Secret("ab" * 32), "alice", "cd" * 16, 1).access_key
ACCESS, SECRET = (b"X-AWS-Access-Key", b"AKIAEXAMPLE"), (b"X-AWS-Secret-Key", b"a/secret+x=")
TOKEN, REGION = (b"x-aws-session-token", b"a/token=="), (b"X-Aws-Region", b"eu-west-3")
BEARER = (b"X-AWS-Bearer-Token", b"ABSKexample=")
PAIR = SigV4Credentials("AKIAEXAMPLE", Secret("a/secret+x="))


@pytest.mark.parametrize(
    ("headers", "held"),
    [
        ([], ClientAwsCredentials()),
        ([(b"authorization", b"Bearer x"), (b"x-amz-date", b"y")], ClientAwsCredentials()),
        ([ACCESS, SECRET], ClientAwsCredentials(pair=PAIR)),
        ([SECRET, (b"accept", b"*/*"), ACCESS], ClientAwsCredentials(pair=PAIR)),
        (
            [ACCESS, SECRET, TOKEN],
            ClientAwsCredentials(pair=SigV4Credentials("AKIAEXAMPLE", PAIR.secret, Secret("a/token=="))),
        ),
        ([ACCESS, SECRET, REGION], ClientAwsCredentials(pair=PAIR, region="eu-west-3")),
        ([REGION], ClientAwsCredentials(region="eu-west-3")),
        ([BEARER], ClientAwsCredentials(bearer=Secret("ABSKexample="))),
        (
            [ACCESS, SECRET, TOKEN, REGION, BEARER],
            ClientAwsCredentials(bearer=Secret("ABSKexample="), region="eu-west-3"),
        ),
        ([(b"X-AWS-Bearer-Token", b"  ABSKexample=\t")], ClientAwsCredentials(bearer=Secret("ABSKexample="))),
        ([(b"x_aws_access_key", b"AKIAEXAMPLE")], ClientAwsCredentials()),
    ],
)
def test_a_clients_bearer_key_is_read_before_its_pair(headers, held):
    assert client_aws_credentials(headers) == held


@pytest.mark.parametrize(
    ("headers", "status", "words"),
    [
        ([ACCESS], 401, "X-AWS-Secret-Key missing"),
        ([SECRET], 401, "X-AWS-Access-Key missing"),
        ([TOKEN], 401, "X-AWS-Access-Key and X-AWS-Secret-Key missing"),
        ([ACCESS, ACCESS, SECRET], 400, "X-AWS-Access-Key twice"),
        ([ACCESS, (b"x-aws-access-key", b"AKIAOTHER"), SECRET], 400, "X-AWS-Access-Key twice"),
        ([BEARER, BEARER], 400, "X-AWS-Bearer-Token twice"),
        ([(b"X-AWS-Bearer-Token", b"")], 400, "X-AWS-Bearer-Token is empty"),
        ([(b"X-AWS-Bearer-Token", b"a\x01b")], 400, "X-AWS-Bearer-Token"),
        ([(b"X-AWS-Bearer-Token", b"\xff")], 400, "X-AWS-Bearer-Token"),
        ([(b"X-AWS-Access-Key", b"AKIA/20260101"), SECRET], 400, "contains characters"),
        ([ACCESS, SECRET, (b"X-AWS-Region", b"evil.example/")], 400, "X-AWS-Region is not the name"),
        ([(b"X-AWS-Access-Key", OURS.encode()), SECRET], 401, "an agent's pair"),
    ],
)
def test_incomplete_or_duplicate_credentials_are_refused_and_never_quoted(headers, status, words):
    with pytest.raises(Refusal) as caught:
        client_aws_credentials(headers)
    assert caught.value.status == status
    assert words in caught.value.message
    for name, value in headers:
        assert len(value) < 3 or value.decode("latin-1") not in caught.value.message, name


def test_client_aws_credentials_are_not_shown_by_repr():
    shown = repr(client_aws_credentials([ACCESS, SECRET, TOKEN])) + repr(client_aws_credentials([BEARER]))
    assert not any(secret in shown for secret in ("a/secret+x=", "a/token==", "ABSKexample="))


@pytest.mark.parametrize("name", ["X-AWS-Access-Key", "x_aws_secret_key", "X-AWS-Session-Token", "X-AWS-Bearer-Token"])
def test_credential_headers_are_never_forwarded(name):
    assert is_credential_header(name)


@pytest.mark.parametrize(
    "name",
    [
        "Accept",
        "Content-Type",
        "X-Amzn-Bedrock-Accept",
        "X-Amzn-Bedrock-Save",
        "X-Amzn-Bedrock-Trace",
        "X-Amzn-Bedrock-GuardrailIdentifier",
        "X-Amzn-Bedrock-GuardrailVersion",
        "X-Amzn-Bedrock-PerformanceConfig-Latency",
        "X-Amzn-Bedrock-Service-Tier",
        "amz-sdk-invocation-id",
        "amz-sdk-request",
        "User-Agent",
    ],
)
def test_the_headers_of_invoke_and_converse_are_forwarded(name):
    assert not is_credential_header(name)
