"""AWS credentials that a client holds itself and passes in `X-AWS-…` headers, for `key_source: client`.

`X-AWS-Bearer-Token` goes before `X-AWS-Access-Key` with `X-AWS-Secret-Key`, which may have `X-AWS-Session-Token` and
`X-AWS-Region` beside them. What is half there is refused, not passed over: the call would go out as someone else's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.egress.hosts import partition_of
from wirekey.errors import Refusal
from wirekey.identity.aws_pairs import ACCESS_KEY
from wirekey.secret import Secret
from wirekey.signing.request import SigV4Credentials

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
    """What a client brought: a Bedrock API key, or a pair to sign with. `region`: the one that it asks for."""

    bearer: Secret | None = None
    pair: SigV4Credentials | None = None
    region: str | None = None


def client_aws_credentials(headers: Iterable[tuple[bytes, bytes]]) -> ClientAwsCredentials:
    """Read a request's headers; both members are None where there is nothing.

    Raises Refusal where something is there twice, by halves, or cannot stand where it says it does.
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
            raise _malformed(f"{NAMES[lower]} is empty, or holds what no credential does.") from None
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
            f"The request has AWS credentials by halves: {' and '.join(missing)} missing. Send both, or "
            "X-AWS-Bearer-Token alone.",
        )
    access_key = values[ACCESS].reveal()
    if ACCESS_KEY.fullmatch(access_key):
        raise Refusal(
            401,
            "no_client_key",
            "X-AWS-Access-Key holds an agent's pair, which Wirekey issued and AWS does not know. Put it where AWS "
            "credentials always go (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), and AWS's own into this header.",
        )
    if not access_key.isalnum():
        raise _malformed("X-AWS-Access-Key holds other characters than an access key id has.")
    return SigV4Credentials(access_key, values[SECRET], values.get(TOKEN))


def _malformed(sentence: str) -> Refusal:
    return Refusal(400, "malformed", sentence)
