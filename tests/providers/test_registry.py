"""Properties of every provider."""

import dataclasses
import inspect
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wirekey
from wirekey.core.errors import Fault, Refusal
from wirekey.core.operation import Facts
from wirekey.feature_registry import features
from wirekey.providers import description, protocol
from wirekey.providers.registry import PROVIDERS
from wirekey.providers.request_edits import RequestEditor

each_provider = pytest.mark.parametrize("provider", PROVIDERS.values(), ids=PROVIDERS)

ODD = ("//", "/../", "/./", ";", "\\", "%2e", "\n", "\x00", " ", "?", "#")
PARTS = [
    "/",
    "/v1",
    "/v1beta",
    "/..",
    "/.",
    "/models",
    "/files",
    "/model",
    "%2f",
    "%2E",
    ";",
    ":",
    "a",
    "a:b",
    "\\",
    "\n",
]

REFUSAL = Refusal(503, "no_key", "There is no key. Set it.", Fault.OPERATOR, retry_after=3)


def test_providers_are_named_as_in_the_registry():
    assert {name: provider.name for name, provider in PROVIDERS.items()} == {name: name for name in PROVIDERS}


@each_provider
def test_a_provider_has_the_signatures_of_the_protocol(provider):
    for name, method in inspect.getmembers(protocol.ProviderOperations, inspect.isfunction):
        if not name.startswith("_"):
            wanted = list(inspect.signature(method).parameters)[1:]
            found = inspect.signature(getattr(provider.operations, name)).parameters
            assert list(found)[: len(wanted)] == wanted, name
            assert all(found[more].default is not inspect.Parameter.empty for more in list(found)[len(wanted) :]), name


def test_a_description_lacks_no_attribute_and_has_no_default():
    values = [cls for _, cls in inspect.getmembers(description, dataclasses.is_dataclass)]
    fields = [field for cls in (protocol.Provider, *values) for field in dataclasses.fields(cls)]
    assert len(values) >= 8
    assert all(field.default is field.default_factory is dataclasses.MISSING for field in fields)


@each_provider
def test_a_forgotten_attribute_fails_when_a_provider_is_made(provider):
    given = {field.name: getattr(provider, field.name) for field in dataclasses.fields(provider)}
    for name in given:
        with pytest.raises(TypeError, match=name):
            protocol.Provider(**{key: value for key, value in given.items() if key != name})


def test_forgotten_operations_fail_when_they_are_made():
    class Incomplete(RequestEditor, protocol.ProviderOperations):
        pass

    with pytest.raises(TypeError, match="match_operation"):
        Incomplete()


@each_provider
@pytest.mark.parametrize("method", ["TRACE", "HEAD", "OPTIONS", "CONNECT", "get", ""])
@pytest.mark.parametrize("path", ["/v1/models", "/v1beta/models", "/v1/chat/completions", "/", "", "*"])
def test_unknown_methods_are_not_recognised(provider, method, path):
    assert provider.operations.match_operation(method, path, {}) is None


@each_provider
@given(path=st.text(max_size=40) | st.lists(st.sampled_from(PARTS), min_size=1).map("".join))
def test_an_oddly_spelled_path_is_not_an_operation(provider, path):
    odd = any(part in path.lower() for part in ODD)
    for method in ("GET", "POST", "DELETE"):
        found = provider.operations.match_operation(method, path, {})
        assert found is None or not odd


@each_provider
def test_an_error_has_valid_content_and_headers(provider):
    body, headers = provider.operations.error_response(REFUSAL, "id-1")
    assert b"There is no key. Set it." in body
    assert headers["content-type"].startswith("application/")
    assert headers["retry-after"] == "3"
    for name, value in headers.items():
        assert name == name.lower() or name.startswith("x-amzn-")
        assert (name + value).isascii()
        assert (name + value).isprintable()


@each_provider
def test_a_message_in_any_language_is_kept(provider):
    refusal = Refusal(403, "denied", 'Nicht erlaubt: "größer"\n…')
    body, headers = provider.operations.error_response(refusal, "id-1")
    body.decode("utf-8")
    assert "\n" not in "".join(headers.values())


@each_provider
def test_a_key_is_set_in_one_lower_case_header(provider):
    name, value = provider.credentials.header("the-key", "/")
    assert name == name.lower()
    assert "the-key" in value


@each_provider
def test_a_provider_names_the_setting_of_its_key(provider):
    assert provider.credentials.setting.isupper()


@each_provider
def test_no_reader_raises_on_any_response(provider):
    for method, path in (
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/messages"),
        ("POST", "/v1beta/models/gemini-2.5-flash:generateContent"),
        ("POST", "/v1beta/models/gemini-2.5-flash:streamGenerateContent"),
        ("POST", "/model/amazon.nova-lite-v1%3A0/converse"),
        ("POST", "/model/amazon.nova-lite-v1%3A0/converse-stream"),
    ):
        operation = provider.operations.match_operation(method, path, {})
        if operation is None:
            continue
        for content_type in ("application/json", "text/event-stream", "application/vnd.amazon.eventstream", "", "x"):
            for status in (200, 400, 503):
                reader = provider.operations.response_reader(operation, Facts(), status, content_type, headers={})
                if reader:
                    for data in (b"", b"{", b'{"error":{}}', b"data: {}\n\n", b"\x00" * 64):
                        reader.feed(data)
                    reader.end()
                    reader.end()


NAME = f"""["'](?:{"|".join(PROVIDERS)})["']"""
COMPARISON = re.compile(rf"[=!]= *{NAME}|{NAME} *[=!]=|\b(?:in|case) *[({{\[]*{NAME}")


def test_code_outside_providers_never_compares_a_provider_name():
    package = Path(wirekey.__file__).parent
    adding = [f"features/{feature.name}/" for feature in features() if feature.providers()]
    found = [
        f"{path.relative_to(package)}: {line.strip()}"
        for path in package.rglob("*.py")
        if not f"{path.relative_to(package)}".startswith(("providers/", "config/", *adding))
        for line in path.read_text().splitlines()
        if COMPARISON.search(line)
    ]
    assert found == []
