"""Finds and masks agent tokens, JWTs and secrets of agents' AWS pairs where they must not appear.

A token is found literally, percent-encoded, escaped, and within base64, as in `Basic` credentials. In records and logs
the first characters of a token are enough to mask it. In requests to a provider, only what could reveal a whole token
is masked.
"""

from __future__ import annotations

import base64
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from wirekey.core.credentials.encodings import decodings
from wirekey.core.credentials.scrub import masked
from wirekey.core.pair_secrets import pair_secrets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wirekey.core.credentials.scrub import Span

JWT = rb"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_.-]+"
RECORDED = re.compile(rb"wk_[A-Za-z0-9]{8,}|" + JWT)
"""Also matches the beginning of a token, because a record may have been cut."""
SENT = re.compile(rb"wk_[A-Za-z0-9]{20,}|" + JWT)
RUN = re.compile(rb"[A-Za-z0-9+/_-]{40,}")
PAIR_SECRET_LENGTH = 40
LONGEST_RUN = 4096
IN_BASE64 = (b"d2tf", b"drX", b"3a1")
"""The base64 forms of `wk_` at each of its three alignments."""
LONGEST_PATH = 128
"""Bytes of a path that is cached once no token was found in it."""
URL_SAFE = bytes.maketrans(b"-_", b"+/")


class TokenFoundError(Exception):
    """A path has a token."""


def without_tokens(data: bytes, form: re.Pattern[bytes] = SENT) -> bytes:
    """Mask the tokens in data of a client. Returns the same object if it has no token."""
    if not may_hold_token(data):
        return data
    if data.startswith(b"/") and len(data) <= LONGEST_PATH and b"?" not in data:
        try:
            check_path(data, form, pair_secrets.known)
        except TokenFoundError:
            pass
        else:
            return data
    return masked(data, list(token_spans(data, form)))


@lru_cache(256)
def check_path(path: bytes, form: re.Pattern[bytes], _known: frozenset[bytes]) -> None:
    """Raise TokenFoundError if a path has a token, which is then not cached. `_known`: the pair secrets.

    The few paths of an API that are escaped, such as those of Bedrock's models, recur in nearly all requests.
    """
    if any(True for _ in token_spans(path, form)):
        raise TokenFoundError


def text_without_tokens(text: str) -> str:
    """Mask the tokens in a text that is recorded, logged or shown."""
    if text.isascii() and len(text) < PAIR_SECRET_LENGTH and "wk" not in text and "%" not in text and "\\" not in text:
        return text  # the usual case: a JWT and base64 of a token are longer
    data = text.encode("utf-8", "surrogatepass")
    clean = without_tokens(data, RECORDED)
    return text if clean is data else clean.decode("utf-8", "surrogatepass")


def may_hold_token(data: bytes) -> bool:
    """Return whether data may contain a token: a quick check before the search."""
    return b"wk_" in data or b"%" in data or b"\\" in data or len(data) >= PAIR_SECRET_LENGTH


def may_hold_tokens(texts: Iterable[bytes]) -> bool:
    """Return whether any of several texts may contain a token: the same check, made of all of them at once."""
    texts = tuple(texts)
    whole = b" ".join(texts)
    return b"wk_" in whole or b"%" in whole or b"\\" in whole or max(map(len, texts), default=0) >= PAIR_SECRET_LENGTH


def token_spans(data: bytes, form: re.Pattern[bytes]) -> Iterator[Span]:
    """Yield the spans of the tokens, in any encoding."""
    for text, positions in decodings(data):
        for found in form.finditer(text):
            yield positions[found.start()], positions[found.end()]
        for run in RUN.finditer(text):
            for start, end in spans_in_run(run[0][:LONGEST_RUN], form):
                yield positions[run.start() + start], positions[run.start() + end]


def spans_in_run(run: bytes, form: re.Pattern[bytes]) -> Iterator[Span]:
    """Yield the spans of pair secrets in a run of base64 characters, and the whole run if it is a token in base64."""
    if known := pair_secrets.known:
        for at in range(len(run) - PAIR_SECRET_LENGTH + 1):
            if run[at : at + PAIR_SECRET_LENGTH] in known:
                yield at, at + PAIR_SECRET_LENGTH
    if any(part in run for part in IN_BASE64):
        for offset in range(4):
            whole = run[offset : offset + (len(run) - offset) // 4 * 4].translate(URL_SAFE)
            if form.search(base64.b64decode(whole)):
                yield 0, len(run)
                return
