"""Verifies requests of `tests.support.signed_requests` against the pair that signed them."""

from tests.support.signed_requests import ACCESS_KEY, BODY, ENDPOINT, NOW, SECRET, sha256
from wirekey.core.secret import Secret
from wirekey.core.signing.request import SigV4Credentials
from wirekey.features.aws_signatures.verify import Verifier


def verify(head, body=BODY, now=NOW, endpoint=ENDPOINT, token=None):
    known = {ACCESS_KEY: SigV4Credentials(ACCESS_KEY, Secret(SECRET), Secret(token) if token else None)}
    return Verifier(known.get).verify(head, sha256(body), endpoint, now)
