"""The formats that are translated are those of the core, and each has one value in both."""

from wirekey.features.translation.formats import FORMATS
from wirekey.providers import formats


def test_each_format_of_the_core_is_translated():
    assert {name: form.wire for name, form in FORMATS.items()} == formats.FORMATS


def test_tokens_are_counted_at_the_operation_of_a_format():
    for form in FORMATS.values():
        counting = form.counting
        assert (counting is None) == (form.name == "openai.chat")
        assert counting is None or formats.FORMATS[counting.form].counts
