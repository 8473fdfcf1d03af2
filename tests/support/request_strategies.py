"""Targets, header fields and methods of generated requests that are signed."""

from urllib.parse import quote

from hypothesis import strategies as st

BYTES_OF_PATHS = st.text("abcXYZ019-_.~:@!$&'()*+,;=%/ü ", min_size=1, max_size=30)
segments = st.lists(
    BYTES_OF_PATHS.filter(lambda text: "/" not in text and text not in (".", "..")), min_size=1, max_size=4
)
words = st.text("abcAZ09-_.~:/+ =&%éß", max_size=12)
queries = st.lists(st.tuples(words.filter(lambda text: not text.lower().startswith("x-amz-")), words), max_size=4)
field_names = st.sampled_from(["X-Amz-Target", "X-Amzn-Trace", "Accept", "X-Custom", "x-amz-meta-a"])
fields = st.dictionaries(field_names, st.text("abc xyz,;=é\t", max_size=20), max_size=4)

methods = st.sampled_from(["POST", "GET", "PUT"])


def target_of(parts, query):
    path = "/" + "/".join(quote(part, safe=":@!$&'()*+,;=") for part in parts)
    pairs = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in query)
    return path + (f"?{pairs}" if query else "")
