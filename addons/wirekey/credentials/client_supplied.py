"""Credentials that a client holds itself, where `credentials` is client or passthrough.

With client they stand in a header made for them, with passthrough in the provider's own place for a key: there an
agent's token, or any JWT, says who calls and is no key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wirekey.credential_headers import query_values
from wirekey.credentials.client_supplied_aws import NAMES, client_aws_credentials
from wirekey.egress.hosts import region_of
from wirekey.errors import Refusal
from wirekey.identity.client_tokens import is_wirekey_token
from wirekey.providers import PROVIDERS
from wirekey.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from wirekey.signing.request import SigV4Credentials

    Fields = Sequence[tuple[bytes, bytes]]

AWS_HEADERS = "X-AWS-Bearer-Token, or X-AWS-Access-Key and X-AWS-Secret-Key (X-AWS-Session-Token too, if there is one)"


_HELD = frozenset({*(each.client_key_header.lower().encode() for each in PROVIDERS.values()), *NAMES} - {b""})


@dataclass(frozen=True, slots=True)
class ClientCredential:
    """One of the two. `bearer`: the key came, and goes on, as `Authorization: Bearer`."""

    key: Secret | None = field(default=None, repr=False)
    pair: SigV4Credentials | None = field(default=None, repr=False)
    bearer: bool = False


def client_supplied_credential(
    provider: str, host: str, headers: Fields, *, query: str = "", passes: bool
) -> ClientCredential | None:
    """Read a client's own credential; None where there is none.

    `host`: the provider's that is called; `query`: raw, without the `?`; `passes`: look in the provider's own place.
    Raises Refusal where there are two, or what cannot be one.
    """
    if passes:
        return _passing(provider, headers, query)
    if PROVIDERS[provider].uses_aws:
        return _for_aws(host, headers)
    header = PROVIDERS[provider].client_key_header
    key = _only(_values(headers, header.lower()), header)
    return ClientCredential(key) if key else None


def client_credential_fields(headers: Fields) -> tuple[tuple[bytes, bytes], ...]:
    """Give the header fields that are made for credentials of the client's own, of any provider."""
    return tuple((name, value) for name, value in headers if name.lower() in _HELD)


def missing(provider: str, *, passes: bool) -> Refusal:
    """Say what the client is to send."""
    if passes:
        sentence = (
            f"Wirekey lets the client's own key for {provider} through, and the request has none. Put it where the "
            "key always goes, and the agent token into the proxy URL."
        )
        if PROVIDERS[provider].uses_aws:
            sentence += " An AWS signature cannot pass: send a Bedrock API key (AWS_BEARER_TOKEN_BEDROCK)."
    else:
        sentence = (
            f"Wirekey holds no key for {provider}: the client brings its own. Send it in the header "
            f"{PROVIDERS[provider].client_key_header or AWS_HEADERS}."
        )
    return Refusal(401, "no_client_key", sentence)


def _for_aws(host: str, headers: Fields) -> ClientCredential | None:
    held, called = client_aws_credentials(headers), region_of(host)
    if held.region and called and held.region != called.region:
        raise Refusal(
            421,
            "names_differ",
            f"X-AWS-Region says {held.region}, and the host that is called is in {called.region}. Call the host of "
            "the region that is meant.",
        )
    if held.bearer:
        return ClientCredential(held.bearer)
    return ClientCredential(pair=held.pair) if held.pair else None


def _passing(provider: str, headers: Fields, query: str) -> ClientCredential | None:
    names, parameter = PROVIDERS[provider].key_headers, PROVIDERS[provider].key_parameter
    found = [(value, name == "authorization") for name in names for value in _keys(headers, name)]
    if parameter and query:
        found += [(value, False) for value in query_values(query, parameter) if not is_wirekey_token(value)]
    key = _only((value for value, _ in found), "the place of the API key")
    return ClientCredential(key, bearer=found[0][1]) if key else None


def _keys(headers: Fields, name: str) -> Iterator[str]:
    for value in _values(headers, name):
        scheme, _, cool_down = value.partition(" ")
        if name == "authorization" and scheme.lower() != "bearer":
            continue
        key = cool_down.strip(" \t") if name == "authorization" else value
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
        raise Refusal(400, "malformed", f"The key in {place} is empty, or holds what no key does.") from None
