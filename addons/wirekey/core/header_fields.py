"""The fields of a message as a dictionary. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


def by_name(fields: Iterable[tuple[bytes, bytes]], names: Collection[bytes] | None = None) -> dict[str, str]:
    """Return the headers by lower-case name. The values of a repeated name are joined with commas.

    `names`: only these, in lower case.
    """
    found: dict[bytes, bytes] = {}
    for field, value in fields:
        name = field.lower()
        if names is None or name in names:
            found[name] = found[name] + b", " + value if name in found else value
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in found.items()}
