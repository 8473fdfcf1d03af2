"""What other signers sign verifies, and what Wirekey itself signs."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.features.aws_signatures.verifying import verify
from tests.support.request_strategies import fields, methods, queries, segments, target_of
from tests.support.signed_requests import ACCESS_KEY, ENDPOINT, HOST, NOW, SECRET, sha256, signed
from wirekey.core.secret import Secret
from wirekey.core.signing.request import RequestHead, SigV4Credentials
from wirekey.core.signing.sign import RequestSigner

PAIR = SigV4Credentials(ACCESS_KEY, Secret(SECRET))
TOKENS = (None, "session/token==")


@settings(max_examples=300)
@given(st.tuples(segments, queries), fields, st.binary(max_size=200), methods)
def test_what_botocore_signs_verifies(target, headers, body, method):
    head = signed(target_of(*target), body, headers, method)
    assert verify(head, body).access_key == ACCESS_KEY


@settings(max_examples=300)
@given(st.tuples(segments, queries), fields, st.binary(max_size=200), methods, st.sampled_from(TOKENS))
def test_what_is_signed_here_verifies(target, headers, body, method, token):
    pair = replace(PAIR, token=Secret(token) if token else None)
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    head = RequestHead(method, target_of(*target).encode(), [(b"Host", HOST.encode()), *encoded])
    added = RequestSigner().sign(head, sha256(body), pair, ENDPOINT, NOW)
    assert verify(replace(head, headers=[*head.headers, *added]), body, token=token)
