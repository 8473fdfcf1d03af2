"""The official header-signing vectors, through the verifier."""

from pathlib import Path

import pytest

from tests.support.signature_vectors import ENDPOINT, NOW, VECTORS, credentials_of, parsed, part, signed
from wirekey.core.secret import Secret
from wirekey.core.signing.refusal import SignatureRefused
from wirekey.core.signing.request import Endpoint, SigV4Credentials
from wirekey.features.aws_signatures.verify import Verifier

UNUSUAL_PATHS = {
    "get-relative",
    "get-relative-relative",
    "get-slash",
    "get-slash-dot-slash",
    "get-slash-pointless-dot",
    "get-slashes",
}


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
