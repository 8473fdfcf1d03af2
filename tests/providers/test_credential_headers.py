"""What a client may not say to a provider is found in every spelling; everything else passes byte for byte."""

import itertools
import urllib.parse

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wirekey.providers.credential_headers import hop_by_hop_names, is_credential_header, query_values, strip_query

TOKEN = "wk_" + "aB3" * 14 + "z"

REMOVED = """
Authorization  proxy-authorization  X-Api-Key  x_api_key  x.api.key  X-API_KEY  x--api--key  api-key  API_KEY  apikey
x-goog-api-key  X_Goog_Api_Key  x-goog-user-project  x.goog_user-project  OpenAI-Organization  openai_project
anthropic-workspace-id  Cookie  COOKIE2  X-Amz-Security-Token  x_amz_date  x-amz-content-sha256  X-Amz-Signature
X-OpenAI-Key  x_openai_key  X-Gemini-Key  X-Anthropic-Key  X-AWS-Bearer-Token  X-AWS-Access-Key  x_aws_secret_key
X-AWS-Session-Token  X-AWS-Region  X-HTTP-Method-Override  X-Method-Override  x_http_method  X-Agent-Id  x_agent_role
X-Forwarded-For  x_forwarded_proto  X-Forwarded  Forwarded  Via  X-Real-IP  Proxy-Connection  x-wirekey-request-id
X-LiteLLM-API-Key  x-api-token  Helicone-Auth  cf-aig-authorization  x-portkey-api-key  x_portkey_config
CF-Access-Client-Secret
OpenAI-API-Key  ocp-apim-subscription-key  x-functions-key  X-Vault-Token  x-goog-iap-jwt-assertion  x-bf-vk  x-auth-key
X-Amz-Access-Token  x-session-token  dd-api-key  x-rapidapi-key
Authentication  AUTHENTICATION  X-Authentication  proxy_authentication  Token  Key  x_key  Auth  Bearer  Secret
Sec_WebSocket_Protocol  sec-websocket.protocol
authorization_  _authorization  traceparent  TraceState  baggage
"""

KEPT = """
Accept  Accept-Encoding  Content-Type  Content-Length  Host  User-Agent  anthropic-version  anthropic-beta  OpenAI-Beta
x-stainless-lang  x-stainless-retry-count  x-goog-api-client  x-goog-upload-protocol  x-goog-upload-command
x-goog-upload-offset  x-server-timeout  x-amzn-bedrock-guardrailidentifier  x-amzn-bedrock-trace  amz-sdk-request
amz-sdk-invocation-id  x-amz-user-agent  idempotency-key  x-request-id  x-awesome  x-forwardedly  keyring
Connection  TE  x-api-key-note  Sec-WebSocket-Protocol  SEC-WEBSOCKET-PROTOCOL  Sec-WebSocket-Key  authenticationless
"""


@pytest.mark.parametrize("name", REMOVED.split())
def test_a_header_that_is_a_credential_is_known_in_every_spelling(name):
    assert is_credential_header(name)


@pytest.mark.parametrize("name", KEPT.split())
def test_a_header_that_is_none_is_left_alone(name):
    assert not is_credential_header(name)


def test_long_names_are_judged_and_not_remembered():
    assert is_credential_header("x-forwarded-" + "a" * 100_000)
    assert not is_credential_header("a" * 100_000)


QUERIES = {
    "": "",
    "alt=sse": "alt=sse",
    "key=abc": "",
    "alt=sse&key=abc": "alt=sse",
    "key=abc&alt=sse": "alt=sse",
    "a=1&key=abc&b=2&key=def": "a=1&b=2",
    "a=%7e&b=%7E&key=x&c=a+b%20c": "a=%7e&b=%7E&c=a+b%20c",
    "%6bey=abc&alt=sse": "alt=sse",
    "%6B%65%79=abc": "",
    "k%2565y=abc": "",
    "KEY=abc": "",
    "key": "",
    "+key=abc": "",
    "%20key%20=abc": "",
    "key%00=abc": "",
    "key[]=abc": "",
    "$key=abc&%24key=d": "",
    "api_key=a&api-key=b&apiKey=c&x-api-key=d": "",
    "access_token=a&access%5ftoken=b&accessToken=c&oauth_token=d&token=e": "",
    "X-Amz-Algorithm=A&X-Amz-Credential=B&X-Amz-Date=C&X-Amz-Expires=1&X-Amz-SignedHeaders=host&X-Amz-Signature=f": "",
    "x%2Damz%2Dsecurity%2Dtoken=a&versionId=3": "versionId=3",
    "AWSAccessKeyId=A&Signature=B&Expires=1": "Expires=1",
    "$httpMethod=DELETE&$httpHeaders=Authorization:x&$userProject=p&$fields=a": "$fields=a",
    "a=1;key=abc": "a=1",
    "key=abc;a=1": "",
    "a=1;b=2": "a=1;b=2",
    f"prompt_id={TOKEN}&a=1": "a=1",
    f"x=wk%5F{TOKEN[3:]}": "",
    "pageToken=abc&pageSize=10&nextToken=n": "pageToken=abc&pageSize=10&nextToken=n",
    "upload_id=abc&upload_protocol=resumable": "upload_id=abc&upload_protocol=resumable",
    "after=file-1&limit=20&keyword=a&monkey=b": "after=file-1&limit=20&keyword=a&monkey=b",
    "&&a=1&&": "&&a=1&&",
    "a=100%&b=%zz": "a=100%&b=%zz",
    "\xff=1&a=\xe9": "\xff=1&a=\xe9",
}


@pytest.mark.parametrize(("query", "stripped"), QUERIES.items())
def test_a_query_loses_its_credentials_and_nothing_else(query, stripped):
    assert strip_query(query) == stripped


def test_endless_percent_encoding_costs_no_endless_work():
    strip_query("%" + "25" * 500_000 + "=1")


BYTES = st.text(st.characters(max_codepoint=255, exclude_characters="&;"), max_size=12)
HARMLESS = st.tuples(st.sampled_from(["alt", "after", "pageToken", "limit", "q"]), BYTES).map("=".join)


@settings(deadline=None)  # of a busy machine
@given(data=st.data(), parts=st.lists(HARMLESS, max_size=6))
def test_a_key_is_removed_from_anywhere_among_other_bytes(data, parts):
    name = "".join(
        data.draw(st.sampled_from([char, char.upper(), f"%{ord(char):02x}", f"%{ord(char):02X}", f"%25{ord(char):x}"]))
        for char in data.draw(st.sampled_from(["key", "api_key", "access_token", "x-amz-signature"]))
    )
    at = data.draw(st.integers(0, len(parts)))
    query = "&".join([*parts[:at], f"{name}=s3cret", *parts[at:]])
    assert strip_query(query) == "&".join(parts)


@settings(deadline=None)  # of a busy machine
@given(st.text(st.characters(max_codepoint=255), max_size=60))
def test_stripping_twice_is_stripping_once(query):
    once = strip_query(query)
    assert strip_query(once) == once
    remaining = {name.lower() for name, _ in urllib.parse.parse_qsl(once, encoding="latin-1", keep_blank_values=True)}
    assert not remaining & {"key", "api_key", "access_token"}


def test_values_are_found_by_folded_name():
    assert list(query_values("alt=sse&%6bEy=a%20b&key=c", "key")) == ["a b", "c"]


CONNECTIONS = [
    ([], set()),
    ([("Connection", "keep-alive")], {"keep-alive"}),
    ([("connection", "Authorization, X-Goog-Api-Key"), ("CONNECTION", "close")],
     {"authorization", "x-goog-api-key", "close"}),
    ([("Connection", " ,, te ,")], {"te"}),
    ([("X-Connection", "authorization")], set()),
]  # fmt: skip


@pytest.mark.parametrize(("headers", "names"), CONNECTIONS)
def test_headers_that_a_connection_header_names_are_told(headers, names):
    assert hop_by_hop_names(headers) == names


def test_separators_in_any_mixture_are_one():
    for one, two in itertools.product("-_.", repeat=2):
        assert is_credential_header(f"X{one}Api{two}Key")
