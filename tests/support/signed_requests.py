"""Requests to Bedrock as AWS's own signer leaves them, for the verifier; and the other way round."""

import hashlib
import threading
from dataclasses import replace
from datetime import UTC, datetime

import botocore.auth
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from wirekey.core.signing.request import Endpoint, RequestHead, parameter_name
from wirekey.core.signing.sign import SIGNATURE_HEADERS

ACCESS_KEY, SECRET = "WKEYABCDEFGHIJKLMNOP", "secret/of+the/agent/0123456789012345678"
HOST = "bedrock-runtime.us-east-1.amazonaws.com"
ENDPOINT = Endpoint("us-east-1")
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC).timestamp()
CLOCK = threading.Lock()
"""Held while botocore has another clock: of two threads, each would put back what the other had set."""
BODY = b'{"messages":[{"role":"user","content":[{"text":"hello"}]}]}'
HEADERS = {
    "Content-Type": "application/json",
    "amz-sdk-invocation-id": "0b1b4b6c-94f2-4d3a-a7bb-6f6d5f7e9f10",
    "amz-sdk-request": "attempt=1",
    "X-Amz-Target": "converse",
    "User-Agent": "Boto3/1.42",
}
PATH = "/model/anthropic.claude-3-5-sonnet-20241022-v2%3A0/converse"


def sha256(body):
    return hashlib.sha256(body).hexdigest()


def head_of(request: AWSRequest) -> RequestHead:
    """Return the request as it would arrive over HTTP/1.1."""
    prepared = request.prepare()
    scheme, _, rest = prepared.url.partition("://")
    host, slash, target = rest.partition("/")
    headers = [
        (name.encode(), value if isinstance(value, bytes) else str(value).encode())
        for name, value in prepared.headers.items()
    ]
    return RequestHead(
        request.method, (slash + target).encode(), [(b"Host", host.encode()), *headers], tls=scheme == "https"
    )


def signed(  # noqa: PLR0917  # each has its default, and is named where it differs
    path=PATH,
    body=BODY,
    headers=HEADERS,
    method="POST",
    at=NOW,
    region="us-east-1",
    service="bedrock",
    token=None,
    auth=SigV4Auth,
    host=HOST,
    scheme="https",
    pair=(ACCESS_KEY, SECRET),
):
    """Return a request signed by botocore for the agent."""
    request = AWSRequest(method=method, url=f"{scheme}://{host}{path}", data=body, headers=dict(headers))
    moment = datetime.fromtimestamp(at, UTC)
    with CLOCK:
        before = botocore.auth.get_current_datetime
        botocore.auth.get_current_datetime = lambda *_, **__: moment
        try:
            auth(Credentials(*pair, token), service, region).add_auth(request)
        finally:
            botocore.auth.get_current_datetime = before
    return head_of(request)


def presigned(path=PATH, at=NOW, expires=600, **more):
    class Query(SigV4QueryAuth):
        def __init__(self, *arguments):
            super().__init__(*arguments, expires=expires)

    return signed(path, None, {}, "GET", at, auth=Query, **more)


def with_header(head, name, *values):
    """Put these values in the place of the header's; none: take it off."""
    kept = [(other, value) for other, value in head.headers if other.lower() != name.lower().encode()]
    return replace(head, headers=[*kept, *((name.encode(), value.encode()) for value in values)])


def header(head, name):
    return next(value.decode() for other, value in head.headers if other.lower() == name.lower().encode())


def changed(head, name, old, new):
    """Change part of a header's value."""
    value = header(head, name)
    assert old in value
    return with_header(head, name, value.replace(old, new, 1))


SIGNATURE_PARAMETERS = frozenset(
    {
        b"x-amz-algorithm",
        b"x-amz-content-sha256",
        b"x-amz-credential",
        b"x-amz-date",
        b"x-amz-expires",
        b"x-amz-security-token",
        b"x-amz-signature",
        b"x-amz-signedheaders",
    }
)


def without_signature(head: RequestHead) -> RequestHead:
    """Remove all parts of a client's signature from headers and query. The rest stays byte for byte."""
    path, mark, query = head.target.partition(b"?")
    kept = [pair for pair in query.split(b"&") if parameter_name(pair) not in SIGNATURE_PARAMETERS]
    target = path + mark + b"&".join(kept) if kept else path
    headers = [(name, value) for name, value in head.headers if name.lower() not in SIGNATURE_HEADERS]
    return replace(head, target=target, headers=headers)
