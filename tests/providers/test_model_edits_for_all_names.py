"""Model replacement with any model name, spacing and spelling of the request."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.providers.shapes import JSON, OLD, SHAPES, asked, filled, overridden

_TAIL = st.text("abcXYZ019._-", max_size=60)
_FIRST = st.sampled_from("abcXYZ019")
_PLAIN = st.builds(str.__add__, _FIRST, _TAIL)
_SEGMENTS = st.builds(str.__add__, _FIRST, st.text("abcXYZ019._:~@+=-", max_size=255))
_PRINTED = st.text(st.characters(codec="utf-8"), min_size=1, max_size=256).filter(
    lambda name: name.isprintable() and name == name.strip() and "--b" not in name
)
_NAMES = {
    "openai": _PRINTED,
    "anthropic": _PRINTED,
    "gemini": _PLAIN | _PLAIN.map("tunedModels/{}".format),
    "bedrock": st.builds("{}:{}".format, _PLAIN, _PLAIN)
    | _PLAIN
    | st.builds("arn:aws:bedrock:eu-west-1:1:profile/{}".format, _PLAIN),
}
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.just("model"), inner, max_size=3)
    ),
    max_leaves=6,
)


def strewn(value, random):
    """Write JSON with white space between all tokens and some letters of its strings escaped."""
    space = "".join(random.choices(" \t\r\n", k=random.choice((0, 0, 1, 3))))
    if isinstance(value, dict):
        members = [f"{strewn(key, random)}:{strewn(inner, random)}" for key, inner in value.items()]
        random.shuffle(members)
        return space + "{" + ",".join(members) + space + "}" + space
    if isinstance(value, list):
        return space + "[" + ",".join(strewn(inner, random) for inner in value) + space + "]" + space
    text = json.dumps(value, ensure_ascii=random.random() < 0.5)
    if isinstance(value, str):
        text = text.replace("m", random.choice(("m", "\\u006d"))).replace("/", random.choice(("/", "\\/")))
    return space + text + space


_OLD_VALUE = re.compile(r'"((?:(?:m|\\u006d)odels\\?/)?)old-(?:m|\\u006d)odel-1"')


def renamed(body, new):
    """Replace the old name where it is a JSON value, and keep its collection prefix."""

    def value(found):
        return json.dumps(f"models/{new}" if found[1] and "/" not in new else new, ensure_ascii=False)

    return _OLD_VALUE.sub(value, body)


@settings(max_examples=15)
@pytest.mark.parametrize(
    ("provider", "line", "body", "content_type"),
    dict.fromkeys((provider, line, body, content_type) for provider, line, body, content_type, _ in SHAPES),
)
@given(data=st.data())
def test_recognition_reads_the_new_model_and_no_other_byte_changes(provider, line, body, content_type, data):
    in_openai_path = line.startswith("GET") and provider in ("openai", "anthropic")
    names = _SEGMENTS if in_openai_path else _PLAIN if line.startswith("GET /v1beta") else _NAMES[provider]
    new = data.draw(names.filter(lambda name: name != OLD))
    given_line, given_body = filled(line, OLD), filled(body, OLD)
    if given_body and content_type == JSON:
        more = {f"x-{key}": value for key, value in data.draw(st.dictionaries(st.text(), _VALUES, max_size=3)).items()}
        given_body = strewn({**more, **json.loads(given_body)}, data.draw(st.randoms(use_true_random=False)))
    target, edited = overridden(provider, given_line, given_body, new, content_type)

    name, before = asked(provider, given_line, given_body.encode(), content_type)
    assert before == OLD
    assert asked(provider, f"{line.partition(' ')[0]} {target.decode()}", edited, content_type) == (name, new)
    assert edited.decode() == (renamed(given_body, new) if content_type == JSON else filled(body, new))
