import re
from dataclasses import replace
from urllib.parse import parse_qsl

import pytest
from botocore.auth import SigV4Auth

from tests.features.aws_signatures.verifying import verify
from tests.support.signed_requests import (
    ACCESS_KEY,
    BODY,
    ENDPOINT,
    HEADERS,
    HOST,
    NOW,
    PATH,
    changed,
    header,
    presigned,
    sha256,
    signed,
    with_header,
)
from wirekey.core.signing.refusal import MISMATCH, SignatureRefused
from wirekey.core.signing.request import Endpoint, RequestHead
from wirekey.core.signing.signature_parsing import has_signature

GOOD = signed()
INVALID, INCOMPLETE = "InvalidSignatureException", "IncompleteSignatureException"
UNRECOGNIZED, MISSING = "UnrecognizedClientException", "MissingAuthenticationTokenException"


def refusal(head, body=BODY, now=NOW, endpoint=ENDPOINT, **more):
    with pytest.raises(SignatureRefused) as refused:
        verify(head, body, now, endpoint, **more)
    assert refused.value.status == 403
    return refused.value.code, refused.value.message


def test_a_good_signature_has_the_signer_and_what_was_signed():
    verified = verify(GOOD)
    assert (verified.access_key, verified.region, verified.service) == (ACCESS_KEY, "us-east-1", "bedrock")
    assert set(verified.signed_headers) == {name.lower() for name in HEADERS if name != "User-Agent"} | {
        "host",
        "x-amz-date",
    }
    assert (verified.payload_signed, verified.presigned, verified.numbered) == (True, False, True)
    assert verified.good_until == NOW + 300
    assert verified.signature not in repr(verified)


def one_byte_flipped(value: bytes, at: int) -> bytes:
    other = b"q" if value[at : at + 1] != b"q" else b"r"
    return value[:at] + other + value[at + 1 :]


@pytest.mark.parametrize("at", range(1, len(PATH)))
def test_each_byte_of_the_path_counts(at):
    assert refusal(replace(GOOD, target=one_byte_flipped(GOOD.target, at)))[0] == INVALID


@pytest.mark.parametrize("at", range(len("?maxResults=10&filter=a%2Fb&empty=&empty=2")))
def test_each_byte_of_the_query_counts(at):
    query = "?maxResults=10&filter=a%2Fb&empty=&empty=2"
    head = signed(PATH + query)
    assert verify(head)
    assert refusal(replace(head, target=one_byte_flipped(head.target, len(PATH) + at)))[0] == INVALID


SIGNED_VALUES = [
    (name, at)
    for name in ("Host", "Content-Type", "amz-sdk-request", "X-Amz-Target", "amz-sdk-invocation-id")
    for at in range(len(header(GOOD, name)))
]


@pytest.mark.parametrize(("name", "at"), SIGNED_VALUES)
def test_each_byte_of_a_signed_header_counts(name, at):
    value = one_byte_flipped(header(GOOD, name).encode(), at).decode()
    assert refusal(with_header(GOOD, name, value)) == (INVALID, MISMATCH)


@pytest.mark.parametrize("at", range(len(BODY)))
def test_each_byte_of_the_body_counts(at):
    assert refusal(GOOD, one_byte_flipped(BODY, at)) == (INVALID, MISMATCH)


SIGNATURE = re.search("Signature=([0-9a-f]+)", header(GOOD, "Authorization"))[1]


@pytest.mark.parametrize("at", range(64))
def test_each_digit_of_the_signature_counts(at):
    other = SIGNATURE[:at] + ("0" if SIGNATURE[at] != "0" else "1") + SIGNATURE[at + 1 :]
    assert refusal(changed(GOOD, "Authorization", SIGNATURE, other)) == (INVALID, MISMATCH)


MUTATIONS = [
    ("method", lambda: replace(GOOD, method="PUT"), INVALID, "does not match"),
    ("no body", lambda: replace(GOOD, method="GET"), INVALID, "does not match"),
    ("query added", lambda: replace(GOOD, target=GOOD.target + b"?x=1"), INVALID, "does not match"),
    ("slash added", lambda: replace(GOOD, target=b"/" + GOOD.target), INVALID, "segments"),
    ("dot segment", lambda: replace(GOOD, target=b"/x/.." + GOOD.target), INVALID, "segments"),
    (
        "spelling of the path",
        lambda: replace(GOOD, target=GOOD.target.replace(b"%3A", b":")),
        INVALID,
        "does not match",
    ),
    ("case of an escape", lambda: replace(GOOD, target=GOOD.target.replace(b"%3A", b"%3a")), INVALID, "does not match"),
    ("absolute form", lambda: replace(GOOD, target=b"https://x" + GOOD.target), INCOMPLETE, "begin with '/'"),
    ("signed header gone", lambda: with_header(GOOD, "X-Amz-Target"), INVALID, "'x-amz-target' was signed"),
    (
        "signed header again",
        lambda: with_header(GOOD, "Content-Type", "application/json", "x"),
        INVALID,
        "does not match",
    ),
    ("x-amz header added", lambda: with_header(GOOD, "x-amz-acl", "public"), INVALID, "'x-amz-acl' must be"),
    ("token added", lambda: with_header(GOOD, "X-Amz-Security-Token", "t"), INVALID, "must be"),
    ("no-break space for a space", lambda: with_header(SPACED, "X-Amz-Target", "a\u00a0b"), INVALID, "does not match"),
    (
        "taken off on the way",
        lambda: with_header(GOOD, "Connection", "close, X-Amz-Target"),
        INVALID,
        "'Connection' lists",
    ),
    ("second host", lambda: with_header(GOOD, "Host", HOST, HOST), INCOMPLETE, "more than one host"),
    ("another authority", lambda: replace(GOOD, authority=b"other"), INCOMPLETE, "more than one host"),
    ("date a second later", lambda: changed(GOOD, "X-Amz-Date", "07Z", "08Z"), INVALID, "does not match"),
    (
        "date of another day",
        lambda: changed(GOOD, "X-Amz-Date", "20260304T", "20260305T"),
        INVALID,
        "Date in Credential",
    ),
    (
        "two dates",
        lambda: with_header(GOOD, "X-Amz-Date", "20260304T050607Z", "20260304T050607Z"),
        INCOMPLETE,
        "more than one",
    ),
    ("no date", lambda: with_header(GOOD, "X-Amz-Date"), INCOMPLETE, "'X-Amz-Date' or a 'Date'"),
    (
        "unsigned Date only",
        lambda: with_header(with_header(GOOD, "X-Amz-Date"), "Date", "Wed, 04 Mar 2026 05:06:07 GMT"),
        INVALID,
        "'date' must be",
    ),
    ("no such date", lambda: changed(GOOD, "X-Amz-Date", "20260304", "20261399"), INCOMPLETE, "ISO-8601"),
    ("scope's date", lambda: changed(GOOD, "Authorization", "/20260304/", "/20260305/"), INVALID, "Date in Credential"),
    ("scope's region", lambda: changed(GOOD, "Authorization", "/us-east-1/", "/us-east-2/"), INVALID, "valid region"),
    ("scope's service", lambda: changed(GOOD, "Authorization", "/bedrock/", "/s3/"), INVALID, "correct service"),
    ("scope's end", lambda: changed(GOOD, "Authorization", "aws4_request", "aws5_request"), INVALID, "terminator"),
    ("scope short", lambda: changed(GOOD, "Authorization", "/bedrock", ""), INCOMPLETE, "5 slash-delimited"),
    ("access key", lambda: changed(GOOD, "Authorization", ACCESS_KEY, ACCESS_KEY[:-1] + "Q"), UNRECOGNIZED, "invalid"),
    ("fewer headers signed", lambda: changed(GOOD, "Authorization", "content-type;", ""), INVALID, "does not match"),
    ("host unsigned", lambda: changed(GOOD, "Authorization", "host;", ""), INVALID, "'Host'"),
    ("date unsigned", lambda: changed(GOOD, "Authorization", "x-amz-date;", ""), INVALID, "'x-amz-date' must be"),
    (
        "unsorted headers",
        lambda: changed(GOOD, "Authorization", "content-type;host;", "host;content-type;"),
        INCOMPLETE,
        "sorted",
    ),
    ("a header twice", lambda: changed(GOOD, "Authorization", "host;", "host;host;"), INCOMPLETE, "each once"),
    ("upper case", lambda: changed(GOOD, "Authorization", "host;", "Host;"), INCOMPLETE, "lower-case"),
    (
        "no signature",
        lambda: changed(GOOD, "Authorization", f", Signature={SIGNATURE}", ""),
        INCOMPLETE,
        "'Signature' parameter",
    ),
    (
        "two signatures",
        lambda: with_header(GOOD, "Authorization", *[header(GOOD, "Authorization")] * 2),
        INCOMPLETE,
        "more than one",
    ),
    (
        "a part twice",
        lambda: changed(GOOD, "Authorization", "Signature=", "Signature=x, Signature="),
        INCOMPLETE,
        "each name once",
    ),
    ("cut signature", lambda: changed(GOOD, "Authorization", SIGNATURE, SIGNATURE[:63]), INVALID, "does not match"),
    (
        "upper-case signature",
        lambda: changed(GOOD, "Authorization", SIGNATURE, SIGNATURE.upper()),
        INVALID,
        "does not match",
    ),
    ("non-ASCII signature", lambda: changed(GOOD, "Authorization", SIGNATURE, "é" * 64), INVALID, "does not match"),
    ("nothing", lambda: with_header(GOOD, "Authorization"), MISSING, "Missing Authentication Token"),
    (
        "header not UTF-8",
        lambda: replace(GOOD, headers=[(n, b"\xff" if n == b"X-Amz-Target" else v) for n, v in GOOD.headers]),
        INCOMPLETE,
        "UTF-8",
    ),
    ("line break in a value", lambda: with_header(SPACED, "X-Amz-Target", "a\nb"), INCOMPLETE, "control character"),
    ("NUL in a value", lambda: with_header(GOOD, "X-Amz-Target", "converse\0"), INCOMPLETE, "control character"),
    ("line break in the path", lambda: replace(GOOD, target=GOOD.target + b"\nx"), INVALID, "does not match"),
    ("query not UTF-8", lambda: replace(GOOD, target=GOOD.target + b"?a=%ff"), INCOMPLETE, "UTF-8"),
    ("path not UTF-8", lambda: replace(GOOD, target=b"/\xff"), INCOMPLETE, "UTF-8"),
]
SPACED = signed(headers=HEADERS | {"X-Amz-Target": "a b"})


@pytest.mark.parametrize(("change", "code", "words"), [row[1:] for row in MUTATIONS], ids=[row[0] for row in MUTATIONS])
def test_a_changed_request_is_refused_with_the_code_of_aws(change, code, words):
    found, message = refusal(change())
    assert found == code
    assert words in message


UNSUPPORTED = [
    ("SigV4A", "AWS4-ECDSA-P256-SHA256 Credential=a/b/c/aws4_request, SignedHeaders=host, Signature=00", "SigV4A"),
    ("SigV2", f"AWS {ACCESS_KEY}:c2lnbmF0dXJl", "Unsupported AWS 'algorithm'"),
    ("another hash", "AWS4-HMAC-SHA512 Credential=a", "'AWS4-HMAC-SHA512'"),
    ("bearer", "Bearer token", "Unsupported AWS 'algorithm'"),
    ("nothing in it", "", "Unsupported"),
    ("name only", "AWS4-HMAC-SHA256", "Name=value"),
    ("no parts", "AWS4-HMAC-SHA256 x", "Name=value"),
]


@pytest.mark.parametrize(("value", "words"), [row[1:] for row in UNSUPPORTED], ids=[row[0] for row in UNSUPPORTED])
def test_other_signature_algorithms_are_refused_and_not_echoed(value, words):
    code, message = refusal(with_header(GOOD, "Authorization", value))
    assert code == INCOMPLETE
    assert words in message
    assert "c2lnbmF0dXJl" not in message


CHUNKED = [
    {"X-Amz-Content-SHA256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"},
    {"X-Amz-Content-SHA256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"},
    {"X-Amz-Content-SHA256": "STREAMING-AWS4-HMAC-SHA256-EVENTS"},
    {"Content-Encoding": "aws-chunked"},
    {"X-Amz-Decoded-Content-Length": "10"},
    {"X-Amz-Trailer": "x-amz-checksum-crc32"},
]


@pytest.mark.parametrize("headers", CHUNKED, ids=str)
def test_bodies_signed_in_chunks_are_refused_by_name(headers):
    code, message = refusal(signed(headers=HEADERS | headers))
    assert (code, "chunks" in message) == (INVALID, True)


@pytest.mark.parametrize(
    ("said", "tls", "code"),
    [
        (sha256(BODY), True, None),
        ("UNSIGNED-PAYLOAD", True, None),
        ("UNSIGNED-PAYLOAD", False, INVALID),
        (sha256(b"another"), True, INVALID),
        (sha256(BODY).upper(), True, INCOMPLETE),
        ("", True, INCOMPLETE),
        ("required", True, INCOMPLETE),
    ],
)
def test_a_hash_in_the_header_is_that_of_the_body_or_absent_over_tls(said, tls, code):
    head = replace(signed(headers=HEADERS | {"X-Amz-Content-SHA256": said}), tls=tls)
    if code:
        assert refusal(head)[0] == code
    else:
        assert verify(head).payload_signed is (said != "UNSIGNED-PAYLOAD")


def test_a_signed_hash_of_another_body_is_told_from_a_wrong_signature():
    said = signed(headers=HEADERS | {"X-Amz-Content-SHA256": sha256(BODY)})
    assert "does not match what was computed" in refusal(said, b"another body")[1]
    twice = with_header(said, "X-Amz-Content-SHA256", sha256(BODY), sha256(BODY))
    assert refusal(twice) == (INCOMPLETE, "The request has more than one x-amz-content-sha256.")


@pytest.mark.parametrize(
    ("late", "words"),
    [
        (-300, None),
        (300, None),
        (0, None),
        (301, "Signature expired: 20260304T050607Z is now earlier than 20260304T050608Z (20260304T051108Z"),
        (
            -301,
            "Signature not yet current: 20260304T050607Z is still later than 20260304T050606Z (20260304T050106Z",
        ),
    ],
)
def test_clocks_may_differ_by_five_minutes(late, words):
    if words:
        code, message = refusal(GOOD, now=NOW + late)
        assert (code, message[: len(words)]) == (INVALID, words)
    else:
        assert verify(GOOD, now=NOW + late)


def test_a_signed_date_header_is_as_good_as_x_amz_date():
    dated = signed(headers=HEADERS | {"Date": "any"})
    assert "date" in verify(dated).signed_headers
    assert refusal(changed(dated, "Date", "05:06:07", "05:06:08")) == (INVALID, MISMATCH)


def test_a_signature_for_another_region_than_the_endpoints_is_refused():
    assert refusal(signed(region="eu-west-1"))[1].startswith("Credential should be scoped to a valid region, not 'eu-")
    assert verify(signed(region="eu-west-1"), endpoint=Endpoint("eu-west-1"))


def test_a_session_token_must_be_the_one_of_the_pair():
    temporary = signed(token="token-of-the-pair")
    assert verify(temporary, token="token-of-the-pair")
    assert refusal(temporary, token="another")[0] == UNRECOGNIZED
    assert refusal(GOOD, token="another")[0] == UNRECOGNIZED
    code, message = refusal(temporary)
    assert (code, "AWS_SESSION_TOKEN" in message) == (UNRECOGNIZED, True)


def test_folded_and_padded_values_are_those_that_were_signed():
    head = signed(headers=HEADERS | {"X-Amz-Target": "a b c"})
    assert verify(with_header(head, "X-Amz-Target", "  a   b\tc "))


def test_values_of_one_name_are_signed_in_their_order():
    head = signed(headers=HEADERS | {"X-Amz-Target": "a,b"})
    assert verify(with_header(head, "X-Amz-Target", "a", "b"))
    assert refusal(with_header(head, "X-Amz-Target", "b", "a"))[0] == INVALID


@pytest.mark.parametrize(
    "query", ["?b=2&a=1&a=0", "?a", "?a=&b", "?a=%20%2B%C3%A9", "?A=1&a=2&%61=3", "?a=b=c", "?&&a=1"]
)
def test_queries_are_verified_whatever_their_order_and_values(query):
    class Sorted(SigV4Auth):
        """botocore takes the values for encoded already, so it gets them as it would encode them."""

        def canonical_query_string(self, request):
            parts = [part if "=" in part else part + "=" for part in query[1:].split("&") if part]
            return self._canonical_query_string_params(parse_qsl("&".join(parts), keep_blank_values=True))

    assert verify(signed(PATH + query, auth=Sorted))


def test_over_http_2_the_authority_is_the_host_under_either_name():
    bare = [(name.lower(), value) for name, value in GOOD.headers if name != b"Host"]
    assert verify(replace(GOOD, headers=bare, authority=HOST.encode()))
    assert refusal(replace(GOOD, headers=bare, authority=b"other"))[0] == INVALID
    assert refusal(replace(GOOD, headers=bare))[0] == INVALID


class TestPresigned:
    @pytest.mark.parametrize("late", [-300, 0, 600])
    def test_it_is_good_until_it_expires(self, late):
        verified = verify(presigned(), b"", NOW + late)
        assert (verified.presigned, verified.numbered, verified.good_until) == (True, False, NOW + 600)

    @pytest.mark.parametrize(
        ("change", "now", "words"),
        [
            (lambda target: target, NOW + 601, "expired"),
            (lambda target: target, NOW - 301, "not yet current"),
            (lambda target: target + b"&x=1", NOW, "does not match"),
            (lambda target: target.replace(b"Expires=600", b"Expires=601"), NOW, "does not match"),
            (lambda target: target.replace(b"us-east-1", b"us-east-2"), NOW, "region"),
            (lambda target: target.replace(b"X-Amz-Expires=600", b"X-Amz-Expires=3601"), NOW, "from 1 to 3600"),
            (lambda target: target.replace(b"X-Amz-Expires=600", b"X-Amz-Expires=0"), NOW, "from 1 to 3600"),
            (lambda target: target.replace(b"/model/", b"/models/"), NOW, "does not match"),
            (lambda target: target[:-1] + (b"0" if target[-1:] != b"0" else b"1"), NOW, "does not match"),
        ],
    )
    def test_a_changed_or_expired_one_is_refused(self, change, now, words):
        head = presigned()
        code, message = refusal(replace(head, target=change(head.target)), b"", now)
        assert (code, words in message) == (INVALID, True)

    @pytest.mark.parametrize(
        ("head", "words"),
        [
            (with_header(presigned(), "Authorization", "junk"), "more than one"),
            (with_header(presigned(), "Authorization", header(GOOD, "Authorization")), "more than one"),
            (replace(presigned(), target=presigned().target + b"&x-amz-signature=0"), "more than once"),
            (RequestHead("GET", b"/x?X-Amz-Signature=0", [(b"Host", b"x")]), "Unsupported"),
            (RequestHead("GET", b"/x?X-Amz-Algorithm=AWS4-HMAC-SHA256", [(b"Host", b"x")]), "'X-Amz-Credential'"),
            (RequestHead("GET", b"/x?X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256", [(b"Host", b"x")]), "SigV4A"),
        ],
    )
    def test_an_unreadable_one_or_one_beside_another_credential_is_refused(self, head, words):
        code, message = refusal(head, b"")
        assert (code, words in message) == (INCOMPLETE, True)

    def test_its_body_is_signed_too(self):
        assert refusal(presigned(), BODY) == (INVALID, MISMATCH)

    def test_its_session_token_must_be_the_one_of_the_pair(self):
        assert verify(presigned(token="t"), b"", token="t")
        assert refusal(presigned(token="t"), b"", token="u")[0] == UNRECOGNIZED


@pytest.mark.parametrize(
    ("head", "presented"),
    [
        (GOOD, True),
        (presigned(), True),
        (with_header(presigned(), "Authorization", "junk"), True),
        (RequestHead("GET", b"/?X%2DAmz%2DSignature=1", []), True),
        (RequestHead("GET", b"/?x-amz-credential=1", []), True),
        (RequestHead("GET", b"/", [(b"authorization", b" AWS4-ECDSA-P256-SHA256 x")]), True),
        (RequestHead("GET", b"/", [(b"authorization", b"AWS key:signature")]), True),
        (RequestHead("GET", b"/", [(b"authorization", b"Bearer AWS4-HMAC-SHA256")]), False),
        (RequestHead("GET", b"/?a=x-amz-signature&b=%ff", []), False),
        (RequestHead("GET", b"/", []), False),
    ],
)
def test_a_request_that_claims_to_be_signed_is_recognised(head, presented):
    assert has_signature(head) is presented
