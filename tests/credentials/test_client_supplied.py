"""Client-supplied credentials: the places where they are read, and values that are not credentials."""

import pytest

from wirekey.core.credentials.client_supplied import (
    ClientCredential,
    client_credential_fields,
    client_supplied_credential,
    missing_credential,
)
from wirekey.core.errors import Refusal
from wirekey.core.secret import Secret
from wirekey.core.signing.request import SigV4Credentials
from wirekey.providers.credential_headers import is_credential_header

HOST = "bedrock-runtime.eu-west-1.amazonaws.com"
AGENT = "wk_" + "a" * 43
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ3aXJla2V5In0.c2lnbmF0dXJl"
PAIR = [(b"X-AWS-Access-Key", b"AKIAEXAMPLE"), (b"X-AWS-Secret-Key", b"secret")]
OWN = [(b"Authorization", b"Bearer key"), (b"x-api-key", b"key"), (b"x-goog-api-key", b"key")]


def key(value: str, *, bearer: bool = False) -> ClientCredential:
    return ClientCredential(Secret(value), bearer=bearer)


@pytest.mark.parametrize(
    ("provider", "headers", "found"),
    [
        ("openai", [(b"X-OpenAI-Key", b"key")], key("key")),
        ("openai", [(b"x-openai-key", b" key\t")], key("key")),
        ("openai", [(b"x_openai_key", b"key")], None),
        ("openai", [(b"X-Anthropic-Key", b"key"), *OWN], None),
        ("gemini", [(b"X-Gemini-Key", b"key")], key("key")),
        ("anthropic", [(b"X-Anthropic-Key", b"key")], key("key")),
        ("bedrock", [(b"X-AWS-Bearer-Token", b"key")], key("key")),
        ("bedrock", [(b"X-AWS-Bearer-Token", b"key"), *PAIR], key("key")),
        ("bedrock", PAIR, ClientCredential(pair=SigV4Credentials("AKIAEXAMPLE", Secret("secret")))),
        ("bedrock", [*PAIR, (b"X-AWS-Region", b"eu-west-1")],
         ClientCredential(pair=SigV4Credentials("AKIAEXAMPLE", Secret("secret")))),
        ("bedrock", OWN, None),
    ],
)  # fmt: skip
def test_with_client_the_key_is_in_its_own_header(provider, headers, found):
    assert client_supplied_credential(provider, HOST, headers, passthrough=False) == found


def test_the_fields_in_which_clients_supply_credentials_are_found_for_any_provider():
    supplied = [(b"X-OPENAI-Key", b"key"), *PAIR, (b"x-aws-bearer-token", b"key")]
    assert client_credential_fields([*OWN, *supplied, (b"x_openai_key", b"key")]) == tuple(supplied)


@pytest.mark.parametrize(
    ("provider", "headers", "query", "found"),
    [
        ("openai", [(b"Authorization", b"Bearer key")], "", key("key", bearer=True)),
        ("openai", [(b"authorization", b"bearer  key ")], "", key("key", bearer=True)),
        ("openai", [(b"Authorization", b"Basic a2V5")], "", None),
        ("openai", [(b"Authorization", f"Bearer {AGENT}".encode())], "", None),
        ("openai", [(b"Authorization", f"Bearer {JWT}".encode())], "", None),
        ("openai", [(b"x-api-key", b"key"), (b"X-OpenAI-Key", b"key")], "key=key", None),
        ("anthropic", [(b"x-api-key", b"key")], "", key("key")),
        ("anthropic", [(b"x-api-key", AGENT.encode()), (b"Authorization", b"Bearer key")], "", key("key", bearer=True)),
        ("gemini", [(b"x-goog-api-key", b"key")], "", key("key")),
        ("gemini", [], "alt=sse&key=key", key("key")),
        ("gemini", [], f"key={AGENT}", None),
        ("gemini", [(b"authorization", b"Bearer ya29.token")], "", key("ya29.token", bearer=True)),
        ("bedrock", [(b"authorization", b"Bearer key")], "", key("key", bearer=True)),
        ("bedrock", [(b"authorization", b"AWS4-HMAC-SHA256 Credential=AKIA/1"), *PAIR], "", None),
    ],
)
def test_with_passthrough_the_key_is_where_the_provider_expects_it(provider, headers, query, found):
    assert client_supplied_credential(provider, HOST, headers, query=query, passthrough=True) == found


@pytest.mark.parametrize(
    ("provider", "headers", "query", "passthrough", "status"),
    [
        ("openai", [(b"X-OpenAI-Key", b"a"), (b"X-OpenAI-Key", b"a")], "", False, 400),
        ("openai", [(b"X-OpenAI-Key", b"")], "", False, 400),
        ("openai", [(b"X-OpenAI-Key", b"a\xff")], "", False, 400),
        ("anthropic", [(b"x-api-key", b"a"), (b"authorization", b"Bearer b")], "", True, 400),
        ("gemini", [(b"x-goog-api-key", b"a")], "key=b", True, 400),
        ("bedrock", [PAIR[0]], "", False, 401),
        ("bedrock", [*PAIR, (b"X-AWS-Region", b"us-east-1")], "", False, 421),
    ],
)
def test_duplicate_incomplete_or_misplaced_credentials_are_refused(provider, headers, query, passthrough, status):
    with pytest.raises(Refusal) as refused:
        client_supplied_credential(provider, HOST, headers, query=query, passthrough=passthrough)
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("provider", "passthrough", "words"),
    [
        ("openai", False, "X-OpenAI-Key"),
        ("gemini", False, "X-Gemini-Key"),
        ("anthropic", False, "X-Anthropic-Key"),
        ("bedrock", False, "X-AWS-Bearer-Token, or X-AWS-Access-Key and X-AWS-Secret-Key"),
        ("openai", True, "into the proxy URL"),
        ("bedrock", True, "AWS_BEARER_TOKEN_BEDROCK"),
    ],
)
def test_the_error_for_a_missing_key_names_its_place(provider, passthrough, words):
    refusal = missing_credential(provider, passthrough=passthrough)
    assert (refusal.status, refusal.code) == (401, "no_client_key")
    assert words in refusal.message


def test_credential_headers_are_not_forwarded():
    for name in ("X-OpenAI-Key", "X-Gemini-Key", "X-Anthropic-Key", "X-AWS-Bearer-Token", "X-AWS-Region"):
        assert is_credential_header(name)


def test_client_credentials_are_not_shown_by_repr():
    assert "sk-secret" not in repr(key("sk-secret"))
