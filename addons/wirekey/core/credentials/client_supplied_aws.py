"""AWS credentials that a client supplies itself in `X-AWS-…` headers, for `key_source: client`.

`X-AWS-Bearer-Token` takes precedence over `X-AWS-Access-Key` with `X-AWS-Secret-Key`, which may come with
`X-AWS-Session-Token` and `X-AWS-Region`. Incomplete credentials are refused rather than ignored, because the call would
otherwise be made with another identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.core.egress.hosts import partition_of
from wirekey.core.errors import Refusal
from wirekey.core.identity.aws_pairs import ACCESS_KEY
from wirekey.core.secret import Secret
from wirekey.core.signing.request import SigV4Credentials

if TYPE_CHECKING:
    from collections.abc import Iterable

BEARER, ACCESS, SECRET, TOKEN, REGION = (
    b"x-aws-bearer-token",
    b"x-aws-access-key",
    b"x-aws-secret-key",
    b"x-aws-session-token",
    b"x-aws-region",
)
NAMES = {
    BEARER: "X-AWS-Bearer-Token",
    ACCESS: "X-AWS-Access-Key",
    SECRET: "X-AWS-Secret-Key",
    TOKEN: "X-AWS-Session-Token",
    REGION: "X-AWS-Region",
}


@dataclass(frozen=True, slots=True)
class ClientAwsCredentials:
    """A Bedrock API key or a key pair to sign with, as supplied by a client. `region`: the one it asks for."""

    bearer: Secret | None = None
    pair: SigV4Credentials | None = None
    region: str | None = None


def client_aws_credentials(headers: Iterable[tuple[bytes, bytes]]) -> ClientAwsCredentials:
    """Parse a request's headers. Both credentials are None if the client sent none.

    Raises Refusal if a header is repeated, invalid, or one of a pair is missing.
    """
    values: dict[bytes, Secret] = {}
    for name, value in headers:
        lower = name.lower()
        if lower not in NAMES:
            continue
        if lower in values:
            raise _malformed(f"The request has {NAMES[lower]} twice.")
        try:
            values[lower] = Secret(value.strip(b" \t").decode("latin-1"))
        except ValueError:
            raise _malformed(f"{NAMES[lower]} is empty or contains characters that no credential has.") from None
    region = values[REGION].reveal() if REGION in values else None
    if region is not None and partition_of(region) is None:
        raise _malformed("X-AWS-Region is not the name of an AWS region, such as us-east-1.")
    if BEARER in values:
        return ClientAwsCredentials(bearer=values[BEARER], region=region)
    return ClientAwsCredentials(pair=_pair(values), region=region)


def _pair(values: dict[bytes, Secret]) -> SigV4Credentials | None:
    if not values.keys() & {ACCESS, SECRET, TOKEN}:
        return None
    if missing := [NAMES[name] for name in (ACCESS, SECRET) if name not in values]:
        raise Refusal(
            401,
            "no_client_key",
            f"The request has incomplete AWS credentials: {' and '.join(missing)} missing. Send both, or "
            "X-AWS-Bearer-Token alone.",
        )
    access_key = values[ACCESS].reveal()
    if ACCESS_KEY.fullmatch(access_key):
        raise Refusal(
            401,
            "no_client_key",
            "X-AWS-Access-Key contains an agent's pair, which Wirekey issued and AWS does not know. Use that pair as "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the program, and send AWS's own in this header.",
        )
    if not access_key.isalnum():
        raise _malformed("X-AWS-Access-Key contains characters that no access key id has.")
    return SigV4Credentials(access_key, values[SECRET], values.get(TOKEN))


def _malformed(sentence: str) -> Refusal:
    return Refusal(400, "malformed", sentence)
