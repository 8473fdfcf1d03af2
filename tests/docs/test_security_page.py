"""docs/security.md says for each feature whose input it is hardened against, and begins with what is out of scope."""

from __future__ import annotations

import re

from tests.docs.pages import text_of
from wirekey.feature_registry import FEATURES

PAGE = text_of("docs/security.md")
ROW = re.compile(r"^\| `(\w+)` \|([^|]*)\|([^|]*)\|$", re.MULTILINE)


def test_each_feature_has_a_row():
    found = {name: (against.strip(), trusted.strip()) for name, against, trusted in ROW.findall(PAGE)}
    assert found.keys() == FEATURES.keys()
    assert not [name for name, cells in found.items() if not any(cells)]


def test_what_is_out_of_scope_comes_first():
    headings = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    assert headings[:2] == ["Purpose", "Attacks that Wirekey does not stop"]
