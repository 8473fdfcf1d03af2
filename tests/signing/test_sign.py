"""What is signed here is right for an implementation that has nothing in common with it, and the other way round."""

from dataclasses import replace

import pytest
from botocore.auth import SigV4Auth
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import signed_requests as requests
from tests.support.request_strategies import fields, methods, queries, segments, target_of
from tests.support.signed_requests import (
    ACCESS_KEY,
    BODY,
    ENDPOINT,
    HOST,
    NOW,
    PATH,
    SECRET,
    presigned,
    sha256,
    signed,
    without_signature,
)
from wirekey.core.secret import Secret
from wirekey.core.signing.canonical import SigningKeyCache
from wirekey.core.signing.request import RequestHead, SigV4Credentials, UnreadableRequestError
from wirekey.core.signing.sign import RequestSigner
from wirekey_simulator.exchange import SimulatedRequest
from wirekey_simulator.sigv4 import Account, signature_rejection

REAL = SigV4Credentials("AKIAREAL", Secret("real/secret"))
TEMPORARY = SigV4Credentials("ASIAREAL", Secret("real/secret"), Secret("session/token=="))
CLEAN = RequestHead("POST", PATH.encode(), [(b"Host", HOST.encode()), (b"Content-Type", b"application/json")])


def simulator_result(head, added, body=BODY):
    """Return the simulator's error about the request, or None if its signature is valid."""
    request = SimulatedRequest(
        method=head.method,
        authority=head.authority.decode() or HOST,
        target=head.target.decode(),
        headers=(*head.headers, *added),
        body=body,
        size=len(body),
        sha256=sha256(body),
        protocol="h1",
        tls=True,
    )
    accounts = {
        ACCESS_KEY: SECRET,
        "AKIAREAL": "real/secret",
        "ASIAREAL": Account("real/secret", token="session/token=="),
    }
    return signature_rejection(request, accounts, lambda: NOW)


def signed_by_us(head, body=BODY, credentials=REAL, **options):
    return RequestSigner().sign(head, sha256(body), credentials, ENDPOINT, NOW, **options)


@pytest.mark.parametrize(
    ("credentials", "options", "names"),
    [
        (REAL, {}, [b"X-Amz-Date", b"Authorization"]),
        (TEMPORARY, {}, [b"X-Amz-Date", b"X-Amz-Security-Token", b"Authorization"]),
        (REAL, {"payload_header": True}, [b"X-Amz-Date", b"X-Amz-Content-SHA256", b"Authorization"]),
    ],
)
def test_the_headers_are_those_of_boto3_and_right(credentials, options, names):
    added = signed_by_us(CLEAN, credentials=credentials, **options)
    assert [name for name, _ in added] == names
    assert simulator_result(CLEAN, added) is None


def test_what_boto3_would_sign_is_signed_alike():
    theirs = signed(headers={"Content-Type": "application/json", "User-Agent": "x", "Connection": "close"})
    pair = SigV4Credentials(ACCESS_KEY, Secret(SECRET))
    ours = RequestSigner().sign(without_signature(theirs), sha256(BODY), pair, ENDPOINT, NOW)
    assert dict(ours)[b"Authorization"] == dict(theirs.headers)[b"Authorization"]


def test_all_of_the_clients_signature_is_removed_and_nothing_else():
    theirs = signed(token="t", headers={"X-Amz-Content-SHA256": sha256(BODY), "X-Amz-Target": "a", "Date": "b"})
    left = without_signature(theirs)
    assert [name for name, _ in left.headers] == [b"Host", b"X-Amz-Target", b"Date", b"Content-Length"]
    query = presigned("/model/a%3A0/x?b=%20&&a=&x-amz-acl=1", token="t")
    assert without_signature(query).target == b"/model/a%3A0/x?b=%20&a=&x-amz-acl=1"
    assert without_signature(presigned("/x")).target == b"/x"
    assert without_signature(CLEAN) == CLEAN


@pytest.mark.parametrize(
    ("head", "error", "words"),
    [
        (signed(), ValueError, "already has a signature"),
        (replace(CLEAN, headers=[]), ValueError, "no host"),
        (replace(CLEAN, authority=b"other"), UnreadableRequestError, "more than one host"),
        (replace(CLEAN, target=b"model"), UnreadableRequestError, "begin with '/'"),
    ],
)
def test_an_ambiguous_request_is_not_signed(head, error, words):
    with pytest.raises(error, match=words):
        signed_by_us(head)


def test_over_http_2_the_authority_is_signed_as_the_host():
    head = replace(CLEAN, headers=[(b"content-type", b"application/json")], authority=HOST.encode())
    added = signed_by_us(head)
    assert b"SignedHeaders=content-type;host;x-amz-date" in dict(added)[b"Authorization"]
    assert simulator_result(head, added) is None


def test_no_secret_is_shown():
    assert "real/secret" not in repr(TEMPORARY)
    assert "session" not in repr(TEMPORARY)


def test_keys_are_kept_up_to_a_bound_and_not_for_another_secret():
    keys = SigningKeyCache(2)
    derived = [keys.key(REAL, f"2026030{day}", "us-east-1", "bedrock") for day in (1, 2, 1, 3, 1)]
    assert (len(keys), derived[0] == derived[2] == derived[4]) == (2, True)
    assert len({*derived}) == 3
    assert keys.key(SigV4Credentials("AKIAREAL", Secret("b")), "20260301", "us-east-1", "bedrock") != derived[0]
    assert len(keys) == 2


@settings(max_examples=300)
@given(st.tuples(segments, queries), fields, st.binary(max_size=200), methods)
def test_what_botocore_signs_is_right_for_the_simulator(target, headers, body, method):
    head = signed(target_of(*target), body, headers, method)
    assert simulator_result(head, [], body) is None


@settings(max_examples=300)
@given(st.tuples(segments, queries), fields, st.binary(max_size=200), methods, st.sampled_from([REAL, TEMPORARY]))
def test_what_is_signed_here_is_right_for_the_simulator_and_for_botocore(target, headers, body, method, credentials):
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    head = RequestHead(method, target_of(*target).encode(), [(b"Host", HOST.encode()), *encoded])
    added = signed_by_us(head, body, credentials)
    assert simulator_result(head, added, body) is None
    assert botocore_says(head, body, credentials) == dict(added)[b"Authorization"].decode()


def botocore_says(head, body, credentials):
    """Return the Authorization header that botocore alone makes for the request."""
    headers = {name.decode(): value.decode() for name, value in head.headers if name != b"Host"}
    token = credentials.token.reveal() if credentials.token else None

    class Other(SigV4Auth):
        def __init__(self, theirs, service, region):
            theirs.access_key, theirs.secret_key = credentials.access_key, credentials.secret.reveal()
            super().__init__(theirs, service, region)

    made = requests.signed(head.target.decode(), body, headers, head.method, token=token, auth=Other)
    return requests.header(made, "Authorization")
