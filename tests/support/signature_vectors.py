"""The official header-signing vectors."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

from wirekey.core.secret import Secret
from wirekey.core.signing.request import Endpoint, RequestHead, SigV4Credentials

SUITE = Path(__file__).parents[1] / "signing" / "aws-sig-v4-test-suite"
VECTORS = sorted(path.relative_to(SUITE).parent.as_posix() for path in SUITE.rglob("*.req"))
SECRET = Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
NOW = datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp()
ENDPOINT = Endpoint("us-east-1", "service", plain_paths=False)


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
