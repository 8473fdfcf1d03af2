"""The official header-signing vectors, through the signer."""

import pytest

from tests.support.signature_vectors import ENDPOINT, NOW, SUITE, VECTORS, credentials_of, parsed, part, token_of
from tests.support.signed_requests import without_signature
from wirekey.core.signing.sign import RequestSigner

PINNED = 34


def test_the_suite_is_whole():
    assert len(VECTORS) == PINNED
    assert (SUITE / "LICENSE").exists()
    assert (SUITE / "NOTICE").exists()


@pytest.mark.parametrize("vector", VECTORS)
def test_the_signer_signs_as_the_vector_says(vector):
    head, digest = parsed(part(vector, "req"))
    added = RequestSigner().sign(without_signature(head), digest, credentials_of(vector), ENDPOINT, NOW)
    assert dict(added)[b"Authorization"] == part(vector, "authz")
    assert dict(added)[b"X-Amz-Date"] == b"20150830T123600Z"
    assert dict(added).get(b"X-Amz-Security-Token", b"").decode() == (token_of(vector) or "")
