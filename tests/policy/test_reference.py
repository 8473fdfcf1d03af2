"""The reference page says what the field table says."""

from tests.docs.pages import text_of
from wirekey.core.policy.reference import page


def test_the_page_is_as_made_from_the_field_table():
    assert text_of("docs/reference/policy-input.md") == page(), "run: python -m wirekey.core.policy.reference > FILE"
