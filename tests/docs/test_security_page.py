"""docs/security.md says for each part whose input it is hardened against, and begins with what is out of scope."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import text_of
from wirekey.config.addresses import HostPort
from wirekey.config.listen import ListenConfig
from wirekey.feature_registry import FEATURES
from wirekey.providers.formats import FORMATS
from wirekey.providers.registry import OWN_PROVIDERS

PAGE = text_of("docs/security.md")
TABLE = re.compile(
    r"^\| (?P<what>[^|\n]*) \| hardened against \| trusted only \|\n\|---\|---\|---\|\n(?P<rows>(?:\|.*\n)+)",
    re.MULTILINE,
)
ROW = re.compile(r"^\| `([\w.]+)`[^|]*\|([^|]*)\|([^|]*)\|$", re.MULTILINE)
SENDERS = ("programs", "providers")
"""Each row names one of them, or its last column says what is trusted."""


def rows(what: str) -> dict[str, tuple[str, str]]:
    """Return the rows of the table whose first heading begins with a word: name → what it is hardened against."""
    found = [match["rows"] for match in TABLE.finditer(PAGE) if match["what"].startswith(what)]
    assert len(found) == 1, f"one table of {what}s is expected"
    return {name: (against.strip(), trusted.strip()) for name, against, trusted in ROW.findall(found[0])}


def listeners() -> set[str]:
    """Return the names of the settings that are addresses of listeners."""
    fields = ListenConfig.model_fields
    return {name for name, field in fields.items() if isinstance(field.default, HostPort)}


EXPECTED = {
    "feature": set(FEATURES),
    "listener": listeners(),
    "provider": set(OWN_PROVIDERS),
    "format": set(FORMATS),
}
"""The first word of each table → the rows that it must have."""


@pytest.mark.parametrize("what", EXPECTED)
def test_each_part_has_a_row(what):
    assert rows(what).keys() == EXPECTED[what]


@pytest.mark.parametrize("what", EXPECTED)
def test_each_row_names_whom_it_is_hardened_against_or_what_is_trusted(what):
    for name, (against, trusted) in rows(what).items():
        assert trusted or any(sender in against for sender in SENDERS), name


def test_what_is_out_of_scope_comes_first():
    headings = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    assert headings[:2] == ["Purpose", "Attacks that Wirekey does not stop"]
