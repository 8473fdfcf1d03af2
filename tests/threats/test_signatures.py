"""THREATS S1 to S13: AWS signatures, as attackers and broken clients send them, through the running proxy."""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.support.aws_signing import BODY, HOST, PATH, REAL, ask, proxy, signed, simulator, without, written
from tests.support.raw_client import RawClient
from tests.support.signed_requests import HEADERS, changed, header, presigned, with_header
from tests.threats.conftest import beginning

__all__ = ["proxy", "simulator"]

INVALID, INCOMPLETE, UNKNOWN = (
    "InvalidSignatureException",
    "IncompleteSignatureException",
    "UnrecognizedClientException",
)
SKEWED = 330
"""Seconds that no clock may be off."""


@pytest.fixture(autouse=True)
def began(simulator, proxy):
    simulator.forget()
    proxy.began = beginning()


def refused(proxy, simulator, request: bytes, code: str, message: str = "", *, status=403):
    """Assert that a request is refused in AWS's shape, reaches no provider, and is in the audit without an agent."""
    answer = ask(proxy, request)
    assert (answer.status, answer.headers.get("x-amzn-errortype")) == (status, code), answer
    assert message in answer.message
    assert answer.headers["content-type"] == "application/json"
    assert "x-wirekey-request-id" in answer.headers
    assert not simulator.seen
    event = proxy.finished_event(proxy.began)
    assert (event["outcome"], event["policy_result"], event["status"]) == ("denied", "deny", status)
    assert (event["agent_id"], event["provider"], event["upstream"]) == (None, "bedrock", None)


def passed(proxy, simulator, request: bytes, host: str = HOST):
    """Assert that it succeeds, signed again, and is alice's in the audit. Return what reached the provider."""
    answer = ask(proxy, request, host)
    assert answer.status == 200, answer
    (seen,) = simulator.seen
    assert seen.status == 200
    assert proxy.pair.access_key not in str(seen.headers) + seen.target
    assert f"Credential={REAL[0]}/" in seen_header(seen, "authorization")
    event = proxy.finished_event(proxy.began)
    assert (event["outcome"], event["agent_id"], event["credential"]) == ("completed", "alice", "bedrock/aws")
    return seen


def seen_header(seen, name: str) -> str:
    (value,) = [value for other, value in seen.headers if other.lower() == name.encode()]
    return value.decode()


def test_S1_a_forged_signature_of_a_known_access_key_is_refused(proxy, simulator):
    refused(
        proxy, simulator, written(signed(proxy, pair=(proxy.pair.access_key, "guessed" * 6))), INVALID, "does not match"
    )


def test_S1_one_changed_digit_of_a_signature_is_refused(proxy, simulator):
    head = signed(proxy)
    digit = header(head, "authorization")[-1]
    value = header(head, "authorization")[:-1] + ("0" if digit != "0" else "1")
    refused(proxy, simulator, written(with_header(head, "Authorization", value)), INVALID, "does not match")


def test_S1_a_signature_of_no_agent_or_of_the_organisation_is_refused(proxy, simulator):
    refused(proxy, simulator, written(signed(proxy, pair=REAL)), UNKNOWN, "No agent has")


def test_S1_a_call_without_a_signature_is_refused(proxy, simulator):
    head = without(signed(proxy), "authorization")
    refused(proxy, simulator, written(head), UNKNOWN, "has no agent token", status=401)


def test_S1_a_truncated_signature_is_refused(proxy, simulator):
    head = signed(proxy)
    value = header(head, "authorization").partition(", Signature=")[0]
    refused(proxy, simulator, written(with_header(head, "Authorization", value)), INCOMPLETE, "'Signature'")


@pytest.mark.parametrize(("off", "message"), [(-SKEWED, "Signature expired"), (SKEWED, "not yet current")])
def test_S2_a_signature_too_old_or_too_new_is_refused(proxy, simulator, off, message):
    refused(proxy, simulator, written(signed(proxy, at=time.time() + off)), INVALID, message)


def test_S2_a_scope_of_another_day_than_the_date_is_refused(proxy, simulator):
    head = signed(proxy)
    day = header(head, "x-amz-date")[:8]
    other = datetime.fromtimestamp(time.time() - 86400, UTC).strftime("%Y%m%d")
    head = changed(head, "Authorization", f"/{day}/", f"/{other}/")
    refused(proxy, simulator, written(head), INVALID, "Date in Credential scope")


def test_S2_a_signature_without_a_date_is_refused(proxy, simulator):
    head = without(signed(proxy), "x-amz-date")
    refused(proxy, simulator, written(head), INCOMPLETE, "'X-Amz-Date' or a 'Date'")


def test_S2_an_unsigned_date_header_is_ignored(proxy, simulator):
    head = without(signed(proxy), "x-amz-date")
    now = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    refused(proxy, simulator, written(head, BODY, f"Date: {now}"), INVALID, "'date' must be a 'SignedHeader'")


def test_S2_a_signature_is_valid_once(proxy, simulator):
    request = written(signed(proxy, headers=HEADERS | {"amz-sdk-invocation-id": str(time.time())}))
    passed(proxy, simulator, request)
    simulator.forget()
    proxy.began = beginning()
    refused(proxy, simulator, request, INVALID, "used before")


def test_S3_a_host_that_is_not_signed_is_refused(proxy, simulator):
    head = changed(signed(proxy), "Authorization", ";host;", ";")
    refused(proxy, simulator, written(head), INVALID, "'Host' or ':authority'")


@pytest.mark.parametrize(
    "added",
    [
        "X-Amz-Evil: 1",
        "x-amz-security-token: stolen",
        "X-Amz-Content-SHA256: " + hashlib.sha256(BODY).hexdigest(),
        "X-Amzn-Bedrock-Trace: ENABLED",
    ],
)
def test_S3_unsigned_x_amz_headers_are_refused_and_other_aws_headers_are_signed(proxy, simulator, added):
    request = written(signed(proxy), BODY, added)
    if added.lower().startswith("x-amz-"):
        refused(proxy, simulator, request, INVALID, "must be a 'SignedHeader'")
    else:
        # Real SDKs leave none of these out; AWS itself does not ask for it.
        assert "x-amzn-bedrock-trace" in seen_header(passed(proxy, simulator, request), "authorization")


def test_S3_a_signed_header_that_was_removed_is_noticed(proxy, simulator):
    head = without(signed(proxy), "x-amz-target")
    refused(proxy, simulator, written(head), INVALID, "did not arrive")


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        ({"region": "eu-west-1"}, "valid region, not 'eu-west-1'"),
        ({"service": "s3"}, "correct service: 'bedrock'"),
        ({"service": "sts"}, "correct service: 'bedrock'"),
    ],
    ids=["region", "s3", "sts"],
)
def test_S4_a_signature_of_another_scope_is_refused(proxy, simulator, scope, message):
    refused(proxy, simulator, written(signed(proxy, **scope)), INVALID, message)


def test_S4_a_signature_for_another_host_of_the_same_service_is_refused(proxy, simulator):
    other = HOST.replace("runtime", "runtime-fips")
    head = with_header(signed(proxy, host=other), "Host", HOST)
    refused(proxy, simulator, written(head), INVALID, "does not match")


def test_S4_what_is_sent_is_signed_for_the_endpoint_that_was_called(proxy, simulator):
    seen = passed(proxy, simulator, written(signed(proxy)))
    assert re.search(
        rf"Credential={REAL[0]}/\d{{8}}/us-east-1/bedrock/aws4_request,", seen_header(seen, "authorization")
    )


def test_S5_a_presigned_query_is_verified_and_nothing_of_it_is_sent(proxy, simulator):
    head = signed(proxy, "/foundation-models?byProvider=amazon", sign=presigned, host=CATALOGUE)
    seen = passed(proxy, simulator, written(head, b""), CATALOGUE)
    assert seen.target == "/foundation-models?byProvider=amazon"


def test_S5_an_expired_presigned_query_is_refused(proxy, simulator):
    head = signed(proxy, sign=presigned, at=time.time() - 60, expires=30)
    refused(proxy, simulator, written(replace(head, method="POST")), INVALID, "was good for 30 s")


def test_S5_SigV4A_is_refused_by_name(proxy, simulator):
    head = changed(signed(proxy), "Authorization", "AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256")
    refused(proxy, simulator, written(head), INCOMPLETE, "SigV4A")


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Amz-Content-SHA256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "x-amz-decoded-content-length": "59"},
        {"X-Amz-Content-SHA256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-trailer": "x-amz-checksum-crc32"},
    ],
    ids=["chunks", "trailer"],
)
def test_S5_bodies_signed_in_chunks_are_refused_by_name(proxy, simulator, headers):
    refused(proxy, simulator, written(signed(proxy, headers=HEADERS | headers)), INVALID, "signed in chunks")


def test_S5_the_aws_chunked_encoding_is_refused(proxy, simulator):
    refused(
        proxy,
        simulator,
        written(signed(proxy), BODY, "Content-Encoding: aws-chunked"),
        "ValidationException",
        "Content-Encoding",
        status=415,
    )


@pytest.mark.parametrize("junk", ["junk", "Basic YTpi", "AWS4-HMAC-SHA256 junk", "Bearer placeholder"])
def test_S6_junk_in_Authorization_does_not_hide_a_presigned_query(proxy, simulator, junk):
    head = with_header(replace(signed(proxy, sign=presigned), method="POST"), "Authorization", junk)
    refused(proxy, simulator, written(head), INCOMPLETE, "more than one signature")


@pytest.mark.parametrize("named", ["host", "x-amz-date", "x-amz-target, close", "Content-Type"])
def test_S7_a_signed_header_that_Connection_removes_is_refused(proxy, simulator, named):
    refused(proxy, simulator, written(signed(proxy), BODY, f"Connection: {named}"), INVALID, "was signed, but")


def test_S8_a_body_that_was_not_signed_is_refused(proxy, simulator):
    refused(proxy, simulator, written(signed(proxy), BODY.replace(b"hello", b"jello")), INVALID, "does not match")


def test_S8_a_body_of_another_hash_than_was_signed_is_refused(proxy, simulator):
    head = signed(proxy, headers=HEADERS | {"X-Amz-Content-SHA256": hashlib.sha256(b"other").hexdigest()})
    refused(proxy, simulator, written(head), INVALID, "x-amz-content-sha256")


def test_S8_an_incomplete_body_is_never_signed(proxy, simulator):
    with RawClient(proxy.running.forward) as client:
        assert client.connect(f"{HOST}:443").status == 200
        client.start_tls(proxy.root, HOST)
        client.send(written(signed(proxy))[:-10])
    event = proxy.finished_event(proxy.began)
    assert (event["outcome"], event["agent_id"]) == ("client_cancelled", None)
    assert not simulator.seen


CATALOGUE = "bedrock.us-east-1.amazonaws.com"


@pytest.mark.parametrize(
    "path",
    [
        "/model/us.amazon.nova-pro-v1%3A0/converse",
        "/model/us.amazon.nova-pro-v1:0/converse",
        "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.amazon.nova-pro-v1%3A0/converse",
        "/model/arn:aws:bedrock:us-east-1:123456789012:inference-profile%2Fus.amazon.nova-pro-v1:0/converse",
    ],
)
@pytest.mark.parametrize(
    "query", ["", "?b=2&a=1", "?a%5B%5D=2&a%5B%5D=1&a%5B%5D=", "?a&b=", "?a=1%2B2&b=%20", "?%C3%A9=%E2%82%AC"]
)
def test_S9_the_form_that_is_signed_is_the_one_that_is_sent(proxy, simulator, path, query):
    assert passed(proxy, simulator, written(signed(proxy, path + query))).target == path + query


@pytest.mark.parametrize(
    "sent",
    [
        PATH.replace("nova-pro", "nova-lite"),
        PATH.replace("%3A", "%253A"),
        PATH + "?added=1",
        PATH.replace("/model/", "//model/"),
        PATH.replace("/model/", "/./model/"),
        PATH.replace("/model/", "/x/../model/"),
        PATH + "-stream",
    ],
)
def test_S9_another_path_or_query_than_was_signed_is_refused(proxy, simulator, sent):
    answer = ask(proxy, written(replace(signed(proxy), target=sent.encode())))
    assert answer.status in (400, 403, 404), answer
    assert "x-amzn-errortype" in answer.headers
    assert not simulator.seen
    assert proxy.finished_event(proxy.began)["outcome"] == "denied"


def test_S10_a_Host_with_the_default_port_is_signed_as_it_is(proxy, simulator):
    head = signed(proxy, headers=HEADERS | {"Host": f"{HOST}:443"})
    head = with_header(head, "Host", f"{HOST}:443")
    seen = passed(proxy, simulator, written(head))
    assert seen_header(seen, "host") == simulator.url.removeprefix("https://")


FORWARDED = {"X-Forwarded-For": "10.0.0.1", "X-Forwarded-Proto": "https", "Forwarded": "for=10.0.0.1", "Via": "1.1 x"}


def test_S11_headers_of_proxies_are_neither_sent_nor_signed_again(proxy, simulator):
    seen = passed(proxy, simulator, written(signed(proxy, headers=HEADERS | FORWARDED)))
    names = {name.lower().decode() for name, _ in seen.headers}
    assert not names & {name.lower() for name in FORWARDED}
    assert "forwarded" not in seen_header(seen, "authorization")


def test_S12_a_scope_with_region_and_service_exchanged_is_refused(proxy, simulator):
    head = changed(signed(proxy), "Authorization", "/us-east-1/bedrock/", "/bedrock/us-east-1/")
    refused(proxy, simulator, written(head), INVALID, "valid region, not 'bedrock'")


def test_S13_a_signed_body_in_chunks_of_HTTP_arrives_with_its_length(proxy, simulator):
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    seen = passed(proxy, simulator, written(signed(proxy), chunked, "Transfer-Encoding: chunked"))
    assert seen.body == BODY
    assert seen_header(seen, "content-length") == str(len(BODY))


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("framing", ["Transfer-Encoding: chunked", ""])
def test_S13_an_unexpected_body_becomes_no_second_request(proxy, simulator, method, framing):
    head = signed(proxy, "/foundation-models", body=BODY, method=method, host=CATALOGUE)
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY) if framing else BODY
    answer = ask(proxy, written(head, body, *filter(None, [framing])), CATALOGUE)
    assert answer.status in (400, 403, 404), answer
    assert not simulator.seen
    assert proxy.finished_event(proxy.began)["outcome"] == "denied"
