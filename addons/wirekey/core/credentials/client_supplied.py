"""Provider credentials that a client supplies itself, for `key_source: client` and `key_source: passthrough`.

With `client` they are in a header of their own. With `passthrough` they are in the provider's own header for a key,
where an agent token or any JWT identifies the caller and is not a key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wirekey.core.credentials.client_supplied_aws import NAMES, client_aws_credentials
from wirekey.core.egress.hosts import region_of
from wirekey.core.errors import Refusal
from wirekey.core.identity.client_tokens import is_wirekey_token
from wirekey.core.secret import Secret
from wirekey.providers.credential_headers import query_values
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from wirekey.core.signing.request import SigV4Credentials

    Fields = Sequence[tuple[bytes, bytes]]

AWS_HEADERS = "X-AWS-Bearer-Token, or X-AWS-Access-Key and X-AWS-Secret-Key (X-AWS-Session-Token too, if there is one)"


_CLIENT_HEADERS = frozenset(
    {*(each.credentials.client_header.lower().encode() for each in PROVIDERS.values()), *NAMES} - {b""}
)


@dataclass(frozen=True, slots=True)
class ClientCredential:
    """A key or an AWS key pair of the client. `bearer`: the key came, and is sent, as `Authorization: Bearer`."""

    key: Secret | None = field(default=None, repr=False)
    pair: SigV4Credentials | None = field(default=None, repr=False)
    bearer: bool = False


def client_supplied_credential(
    provider: str,
    host: str,
    headers: Fields,
    *,
    query: str = "",
    passthrough: bool,
    agent_tokens: Collection[str] = (),
) -> ClientCredential | None:
    """Return a client's own credential, or None if it sent none.

    `host`: the provider's host of the call. `query`: raw, without the `?`. `passthrough`: read the provider's own
    headers. `agent_tokens`: imported tokens, which identify the caller and are not keys. Raises Refusal if there are
    two credentials or an invalid one.
    """
    if passthrough:
        return _passed_through(provider, headers, query, agent_tokens)
    if PROVIDERS[provider].credentials.uses_aws:
        return _for_aws(host, headers)
    header = PROVIDERS[provider].credentials.client_header
    key = _only(_values(headers, header.lower()), header)
    return ClientCredential(key) if key else None


def client_credential_fields(headers: Fields) -> tuple[tuple[bytes, bytes], ...]:
    """Return the header fields in which clients supply credentials, for any provider."""
    return tuple((name, value) for name, value in headers if name.lower() in _CLIENT_HEADERS)


def missing_credential(provider: str, *, passthrough: bool) -> Refusal:
    """Return the refusal that tells the client which credential to send."""
    if passthrough:
        sentence = (
            f"Wirekey passes the client's own key for {provider} through, and the request has none. Send the key as "
            "usual, and put the agent token into the proxy URL."
        )
        if PROVIDERS[provider].credentials.uses_aws:
            sentence += " An AWS signature cannot be passed through: send a Bedrock API key (AWS_BEARER_TOKEN_BEDROCK)."
    else:
        sentence = (
            f"Wirekey has no key for {provider}: the client supplies its own. Send it in the header "
            f"{PROVIDERS[provider].credentials.client_header or AWS_HEADERS}."
        )
    return Refusal(401, "no_client_key", sentence)


def _for_aws(host: str, headers: Fields) -> ClientCredential | None:
    supplied, called = client_aws_credentials(headers), region_of(host)
    if supplied.region and called and supplied.region != called.region:
        raise Refusal(
            421,
            "names_differ",
            f"X-AWS-Region is {supplied.region}, but the called host is in {called.region}. Call the host of the "
            "intended region.",
        )
    if supplied.bearer:
        return ClientCredential(supplied.bearer)
    return ClientCredential(pair=supplied.pair) if supplied.pair else None


def _passed_through(
    provider: str, headers: Fields, query: str, agent_tokens: Collection[str]
) -> ClientCredential | None:
    names, parameter = PROVIDERS[provider].credentials.headers, PROVIDERS[provider].credentials.parameter
    found = [(value, name == "authorization") for name in names for value in _keys(headers, name)]
    if parameter and query:
        found += [(value, False) for value in query_values(query, parameter) if not is_wirekey_token(value)]
    found = [(value, bearer) for value, bearer in found if value not in agent_tokens]
    key = _only((value for value, _ in found), "the place of the API key")
    return ClientCredential(key, bearer=found[0][1]) if key else None


def _keys(headers: Fields, name: str) -> Iterator[str]:
    for value in _values(headers, name):
        scheme, _, credential = value.partition(" ")
        if name == "authorization" and scheme.lower() != "bearer":
            continue
        key = credential.strip(" \t") if name == "authorization" else value
        if not is_wirekey_token(key):
            yield key


def _values(headers: Fields, name: str) -> Iterator[str]:
    wanted = name.encode()
    return (value.strip(b" \t").decode("latin-1") for other, value in headers if other.lower() == wanted)


def _only(values: Iterable[str], place: str) -> Secret | None:
    found = list(values)
    if not found:
        return None
    if len(found) > 1:
        raise Refusal(400, "malformed", f"The request has more than one key in {place}.")
    try:
        return Secret(found[0])
    except ValueError:
        raise Refusal(
            400, "malformed", f"The key in {place} is empty or contains characters that no key has."
        ) from None
