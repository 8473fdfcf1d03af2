"""The reference page matches the field table."""

from pathlib import Path

from wirekey.core.audit.reference import page

FILE = Path(__file__).parents[2] / "docs" / "reference" / "audit-event.md"


def test_the_page_is_generated_from_the_field_table():
    assert FILE.read_text(encoding="utf-8") == page(), f"run: python -m wirekey.core.audit.reference > {FILE.name}"
