"""The official header-signing vectors, through the verifier and through the signer."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.signed_requests import without_signature
from wirekey.core.secret import Secret
from wirekey.core.signing.refusal import SignatureRefused
from wirekey.core.signing.request import Endpoint, RequestHead, SigV4Credentials
from wirekey.core.signing.sign import RequestSigner
from wirekey.core.signing.verify import Verifier

SUITE = Path(__file__).parent / "aws-sig-v4-test-suite"
VECTORS = sorted(path.relative_to(SUITE).parent.as_posix() for path in SUITE.rglob("*.req"))
PINNED = 34
SECRET = Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
NOW = datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp()
ENDPOINT = Endpoint("us-east-1", "service", plain_paths=False)
UNUSUAL_PATHS = {
    "get-relative",
    "get-relative-relative",
    "get-slash",
    "get-slash-dot-slash",
    "get-slash-pointless-dot",
    "get-slashes",
}


def part(vector, kind):
    return (SUITE / vector / f"{Path(vector).name}.{kind}").read_bytes().replace(b"\r", b"")


def token_of(vector):
    for line in part(vector, "creq").decode().splitlines():
        if line.startswith("x-amz-security-token:"):
            return line.partition(":")[2]
    return None


def credentials_of(vector):
    token = token_of(vector)
    return SigV4Credentials("AKIDEXAMPLE", SECRET, Secret(token) if token else None)


def parsed(text):
    """Read a request as it stands in the suite: LF at the line ends, folded values, blanks and UTF-8 in the target."""
    top, _, body = text.partition(b"\n\n")
    lines = top.rstrip(b"\n").split(b"\n")
    method, _, rest = lines[0].partition(b" ")
    headers = []
    for line in lines[1:]:
        if line.startswith(b" "):
            headers[-1] = (headers[-1][0], headers[-1][1] + b"\n" + line)
        else:
            name, _, value = line.partition(b":")
            headers.append((name, value))
    return RequestHead(method.decode(), rest.removesuffix(b" HTTP/1.1"), headers), hashlib.sha256(body).hexdigest()


def signed(vector):
    """Return the request with the signature that the suite expects."""
    head, digest = parsed(part(vector, "req"))
    headers = [*head.headers, (b"Authorization", part(vector, "authz"))]
    token = token_of(vector)
    if token and not any(name.lower() == b"x-amz-security-token" for name, _ in headers):
        headers.append((b"X-Amz-Security-Token", token.encode()))
    return RequestHead(head.method, head.target, headers), digest


def test_the_suite_is_whole():
    assert len(VECTORS) == PINNED
    assert (SUITE / "LICENSE").exists()
    assert (SUITE / "NOTICE").exists()


@pytest.mark.parametrize("vector", VECTORS)
def test_the_verifier_accepts_the_vector(vector):
    head, digest = signed(vector)
    verified = Verifier({"AKIDEXAMPLE": credentials_of(vector)}.get).verify(head, digest, ENDPOINT, NOW)
    assert (verified.access_key, verified.region, verified.service) == ("AKIDEXAMPLE", "us-east-1", "service")
    assert ";".join(verified.signed_headers).encode() in part(vector, "authz")


@pytest.mark.parametrize("vector", VECTORS)
def test_the_verifier_refuses_the_vector_with_another_secret(vector):
    head, digest = signed(vector)
    real = credentials_of(vector)
    other = SigV4Credentials(real.access_key, Secret("another"), real.token)
    with pytest.raises(SignatureRefused) as refused:
        Verifier({"AKIDEXAMPLE": other}.get).verify(head, digest, ENDPOINT, NOW)
    assert refused.value.code == "InvalidSignatureException"


@pytest.mark.parametrize("vector", VECTORS)
def test_the_signer_signs_as_the_vector_says(vector):
    head, digest = parsed(part(vector, "req"))
    added = RequestSigner().sign(without_signature(head), digest, credentials_of(vector), ENDPOINT, NOW)
    assert dict(added)[b"Authorization"] == part(vector, "authz")
    assert dict(added)[b"X-Amz-Date"] == b"20150830T123600Z"
    assert dict(added).get(b"X-Amz-Security-Token", b"").decode() == (token_of(vector) or "")


def test_a_token_added_after_signing_is_refused_as_an_unsigned_header():
    head, digest = parsed(part("post-sts-token/post-sts-header-after", "sreq"))
    with pytest.raises(SignatureRefused, match="'x-amz-security-token' must be a 'SignedHeader'"):
        Verifier({"AKIDEXAMPLE": credentials_of("get-vanilla")}.get).verify(head, digest, ENDPOINT, NOW)


@pytest.mark.parametrize("vector", [vector for vector in VECTORS if vector.startswith("normalize-path/")])
def test_paths_that_are_not_their_own_normal_form_are_refused_where_only_plain_ones_are_taken(vector):
    head, digest = signed(vector)
    verifier = Verifier({"AKIDEXAMPLE": credentials_of(vector)}.get)
    plain = Endpoint("us-east-1", "service")
    if Path(vector).name in UNUSUAL_PATHS:
        with pytest.raises(SignatureRefused, match="segments"):
            verifier.verify(head, digest, plain, NOW)
    else:
        assert verifier.verify(head, digest, plain, NOW)
