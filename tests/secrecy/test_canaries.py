"""The search finds: otherwise that it found nothing would say nothing."""

import base64
import gzip
import json
import zlib
from urllib.parse import quote

import pytest

from tests.support.canaries import Canaries

SPELLINGS = {
    "plain": lambda word: word,
    "other case": str.upper,
    "in JSON": lambda word: json.dumps({"prompt": f"say {word}\n"}),
    "in JSON, each letter escaped": lambda word: "".join(f"\\u{ord(letter):04X}" for letter in word),
    "percent-encoded": lambda word: "".join(f"%{ord(letter):02X}" for letter in word),
    "in a query": lambda word: "?q=" + quote(f"a b {word}"),
    "hexadecimal": lambda word: word.encode().hex(),
    "in a Python repr of bytes": lambda word: repr(f"\0{word}\n".encode()),
    **{
        f"base64 after {count} bytes": lambda word, count=count: base64.b64encode(
            b"x" * count + word.encode() + b"yz"
        ).decode()
        for count in range(4)
    },
    "as a proxy credential": lambda word: base64.b64encode(f"alice:{word}".encode()).decode(),
    "URL-safe base64": lambda word: base64.urlsafe_b64encode(b"??>" + word.encode()).decode(),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_canary_is_found_in_each_spelling(spelling):
    canaries = Canaries()
    canaries("another place")
    data = b"before " + SPELLINGS[spelling](canaries("a place")).encode() + b" after"
    assert canaries.found_in(data) == ["a place"]


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_a_canary_is_found_in_what_is_packed(pack):
    canaries = Canaries()
    assert canaries.found_in(pack(canaries("a place").encode())) == ["a place"]


def test_where_it_belongs_it_is_not_counted():
    canaries = Canaries()
    data = (canaries("key of x") + canaries("content of x")).encode()
    assert canaries.found_in(data, besides=("content",)) == ["key of x"]
    assert Canaries().found_in(data) == []
