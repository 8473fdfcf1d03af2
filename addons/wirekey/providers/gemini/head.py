"""Checks heads of requests to Google's servers: they may not hide token counts, or name a second model.

Their servers can leave members out of a response, by a mask in the query or in a header, and wrap it for a page's
script: https://cloud.google.com/apis/docs/system-parameters. A parameter of the query can stand for a member of the
request, such as its model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.operation import Kind
from wirekey.providers.lookalikes import letters
from wirekey.providers.request_head import unclear

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wirekey.core.errors import Refusal
    from wirekey.core.operation import Operation

MASKS = ("fields", "fieldmask", "xgoogfieldmask")
WRAPPERS = ("callback", "jsonp")
COUNTED = ("batches.get",)
"""Other operations whose responses have token counts."""
MODELS = ("model", "name")
"""The letters and digits of names, as servers may read them in other spellings."""
COUNTS = ("*", "usageMetadata", "usage")
"""The members of a mask that keep the token counts of a response, in Google's own format and in others."""


def check_head(operation: Operation, query: Mapping[str, str], headers: Mapping[str, str]) -> None:
    """Raise Refusal(400) if a call of a model hides its token counts, or names a second model in the query."""
    if operation.kind is not Kind.INFERENCE and operation.name not in COUNTED:
        return
    for name, value in query.items():
        read = letters(name)
        if read in WRAPPERS:
            raise unclear(f"the query parameter {name[:64]!r} wraps the response, so that its tokens cannot be counted")
        if read in MASKS and not _keeps_counts(value):
            raise _masks(f"the query parameter {name[:64]!r}")
        if letters(name.rpartition(".")[2]) in MODELS:
            raise unclear(f"the query parameter {name[:64]!r} could name another model; name it only once")
    for name in _masks_in(headers):
        if not _keeps_counts(headers[name]):
            raise _masks(f"the header {name[:64]!r}")


def _masks_in(headers: Mapping[str, str]) -> Iterator[str]:
    return (name for name in headers if "mask" in name.lower() and letters(name) in MASKS)


def _keeps_counts(mask: str) -> bool:
    """Return whether a mask has all counts. Brackets hold the members of a member."""
    listed = mask.replace(" ", "").split(",")
    return "(" not in mask and any(member in COUNTS for member in listed)


def _masks(where: str) -> Refusal:
    return unclear(
        f"{where} may leave the token counts out of the response; add 'usageMetadata' to it, or leave it out"
    )
