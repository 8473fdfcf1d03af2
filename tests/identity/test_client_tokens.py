"""The tokens in a request are read in exactly one way, or not at all."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirekey.core.identity.client_tokens import header_tokens, is_key_header, proxy_credentials
from wirekey.core.identity.tokens import TOKEN, new_token, token_digest, token_id

A = "wk_" + "a" * 43
B = "wk_" + "b" * 43


def basic(text):
    data = text if isinstance(text, bytes) else text.encode()
    return "Basic " + base64.b64encode(data).decode()


PROXY = [
    (basic(f"alice:{A}"), ("alice", A)),
    (basic(f"alice:{A}").replace("Basic", "bAsIc"), ("alice", A)),
    (basic(f"alice:{A}").replace(" ", "   "), ("alice", A)),
    (basic("alice:to:ken:"), ("alice", "to:ken:")),
    (basic(f":{A}"), ("", A)),
    (f"Bearer {A}", (None, A)),
    (f"bearer  {A} ", (None, A)),
    ("", None),
    ("Basic", None),
    ("Basic ", None),
    ("Bearer ", None),
    ("Bearer a b", None),
    ("Digest username=alice", None),
    (basic("alice"), None),
    (basic("alice:"), None),
    (basic("alice:to\nken"), None),
    (basic("al\0ice:token"), None),
    (basic(b"\xff\xfe:token"), None),
    (basic(f"alice:{A}") + "!", None),
    ("Basic YWxpOng", None),  # without its padding
    ("Basic YWxpY2U6YR==", None),  # same text as …YQ==, other spare bits
    ("Basic YWxp Y2U6YQ==", None),
    ("Basic " + "A" * 100_000, None),
]


@pytest.mark.parametrize(("header", "read"), PROXY)
def test_proxy_credentials_are_read(header, read):
    assert proxy_credentials(header) == read


@given(st.text())
def test_no_proxy_header_raises(header):
    proxy_credentials(header)


@given(name=st.text("abcXYZ019._-", max_size=64), token=st.text(st.characters(categories=["L", "N", "P"]), min_size=1))
def test_any_token_sent_with_basic_is_read_back(name, token):
    assert proxy_credentials(basic(f"{name}:{token}")) == (name, token)


SLOTS = [
    ([("Authorization", f"Bearer {A}")], "", (A,)),
    ([("AUTHORIZATION", f"bearer   {A} ")], "", (A,)),
    ([("x-goog-api-key", A)], "", (A,)),
    ([("X-Api-Key", A)], "", (A,)),
    ([("api-key", A)], "", (A,)),
    ([], f"alt=sse&key={A}", (A,)),
    ([], f"%6bey=wk%5F{A[3:]}", (A,)),
    ([("Sec-WebSocket-Protocol", f"realtime, openai-insecure-api-key.{A}")], "", (A,)),
    ([("sec-websocket-protocol", "realtime")], "", ()),
    ([("x-api-key", A)], f"key={A}", (A,)),
    ([("x-api-key", A), ("authorization", f"Bearer {B}")], "", (A, B)),
    ([("authorization", f"Bearer {A}"), ("authorization", f"Bearer {B}")], "", (A, B)),
    ([("x-api-key", A)], f"key={B}&key={A}", (A, B)),
    ([("x-api-key", "sk-ant-something"), ("authorization", f"Bearer {A}")], "key=AIzaSomething", (A,)),
    ([("authorization", "Bearer wirekey-holds-the-key")], "", ()),
    ([("authorization", "AWS4-HMAC-SHA256 Credential=…")], "", ()),
    ([("authorization", f"Basic {A}"), ("cookie", A), ("x-other", A)], f"other={A}", ()),
    ([("x-api-key", "wk_short")], "", ("wk_short",)),
    ([("authorization", f"Bearer {A}, Bearer {B}")], "", (f"{A}, Bearer {B}",)),
    ([("x-api-key", "wk_" + "a" * 100_000)], "", ()),
    ([], "", ()),
]


@pytest.mark.parametrize(("headers", "query", "tokens"), SLOTS)
def test_agent_tokens_are_found_where_clients_send_keys(headers, query, tokens):
    assert header_tokens(headers, query) == tokens


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("Authorization", True),
        ("X-API-Key", True),
        ("x-goog-api-key", True),
        ("Sec-WebSocket-Protocol", True),
        ("Proxy-Authorization", False),
        ("cookie", False),
        ("x-api-key-2", False),
    ],
)
def test_the_headers_in_which_sdks_send_keys_are_known_in_any_case(name, is_one):
    assert [is_key_header(each) for each in (name, name.lower(), name.upper())] == [is_one] * 3


def test_a_token_is_random_letters_and_digits():
    tokens = {new_token() for _ in range(200)}
    assert len(tokens) == 200
    assert all(TOKEN.fullmatch(token) for token in tokens)
    assert len({char for token in tokens for char in token[3:]}) == 62


def test_a_token_is_described_without_being_shown():
    assert token_id(A) == token_digest(A).hex()[:12]
    assert token_id(A) not in A
