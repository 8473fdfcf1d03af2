"""References to secrets: where they are looked up, and the messages if they are missing."""

import sys
from types import SimpleNamespace

import pytest

from tests.support.configuration import LITERAL_KEY
from wirekey.config import SecretRef, resolve
from wirekey.config.secrets import looks_like_key


@pytest.mark.parametrize(
    "text", ["env:A_1", "file:/run/secrets/x", "file:~/x", "keyring:wirekey/openai", "keyring:a/b/c"]
)
def test_a_reference_reads_back_as_it_was_written(text):
    assert str(SecretRef.parse(text)) == text


@pytest.mark.parametrize(
    "value", ["env:", "env:1", "env:$A", "file:", "keyring:x", "keyring:/x", "A", "vault:x", "", 1, None]
)
def test_an_invalid_reference_is_refused(value):
    with pytest.raises(ValueError, match=r"env:|file:|keyring:"):
        SecretRef.parse(value)


@pytest.mark.parametrize(("content", "secret"), [("k1", "k1"), ("k1\n", "k1"), ("  k1\r\n", "k1"), ("\ufeffk1", "k1")])
def test_a_file_holds_the_secret_with_or_without_line_end(tmp_path, content, secret):
    (tmp_path / "key").write_text(content)
    assert resolve(SecretRef("file", "key"), {}, tmp_path).reveal() == secret


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "does not exist"),
        (b"", "empty"),
        (b"a\nb", "line break"),
        (b"\xff\xfe", "not a text file"),
        (b"x" * 70000, "larger than 64 KiB"),
    ],
)
def test_a_file_without_one_secret_is_reported(tmp_path, content, words):
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        resolve(SecretRef("file", "key"), {}, tmp_path)


@pytest.mark.parametrize("environ", [{}, {"A": ""}, {"A": "  "}])
def test_a_variable_without_a_value_is_reported_with_the_fix(tmp_path, environ):
    with pytest.raises(ValueError, match=r"A is not set. Export it, or put A=… in the .env"):
        resolve(SecretRef("env", "A"), environ, tmp_path)


def test_a_secret_with_a_line_break_is_refused_and_not_shown(tmp_path):
    with pytest.raises(ValueError, match="line break") as caught:
        resolve(SecretRef("env", "A"), {"A": f"{LITERAL_KEY}\r\nX: y"}, tmp_path)
    assert LITERAL_KEY not in str(caught.value)


def broken(service, name):
    raise RuntimeError(LITERAL_KEY)


@pytest.mark.parametrize(
    ("keyring", "words"),
    [
        (None, "pip install keyring"),
        (SimpleNamespace(get_password=lambda service, name: None), "keyring set wirekey open/ai"),
        (SimpleNamespace(get_password=broken), "refused wirekey/open/ai: RuntimeError$"),
    ],
)
def test_a_keyring_without_the_secret_is_reported_with_the_fix(tmp_path, monkeypatch, keyring, words):
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    with pytest.raises(ValueError, match=words):
        resolve(SecretRef("keyring", "wirekey/open/ai"), {}, tmp_path)


def test_a_keyring_is_read_by_service_and_name(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "keyring", SimpleNamespace(get_password=lambda *asked: "-".join(asked)))
    assert resolve(SecretRef("keyring", "wirekey/openai"), {}, tmp_path).reveal() == "wirekey-openai"


@pytest.mark.parametrize(
    ("text", "likely"),
    [
        (LITERAL_KEY, True),
        ("AIzaSyA-1234", True),
        ("AKIAIOSFODNN7EXAMPLE", True),
        ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", True),
        ("Bearer x", True),
        ("OPENAI_API_KEY", False),
        ("connections_per_client", False),
        ("gpt-4o-mini", False),
    ],
)
def test_keys_are_distinguished_from_names(text, likely):
    assert looks_like_key(text) is likely
