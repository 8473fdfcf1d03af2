"""Refuses numbers and orders that the engine may compute differently than OPA. Pure."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from wirekey_rego.names import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey_rego.sourcemap import SourcePosition
    from wirekey_rego.syntax import Node

LONGEST_INTEGER = 18
LONGEST_FRACTION = 15
"""Digits of a number that is still exact."""
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


def exact_number(place: SourcePosition, source: bytes, inner: Node) -> str:
    """Return a number as it is written. Raises RefusedError if it may be rounded."""
    found = _NUMBER.match(source, inner["span"]["start"])
    text = found[0].decode() if found else json.dumps(inner["value"])
    digits = text.strip("-").replace(".", "")
    if not digits.isdigit() or len(digits) > (LONGEST_FRACTION if "." in text else LONGEST_INTEGER):
        message = "a number this long, or with an exponent, may be rounded differently than in OPA. Shorten it"
        raise RefusedError(place, message)
    return text


def check_arithmetic(place: SourcePosition, inner: Node) -> None:
    """Refuse arithmetic whose last digit may differ from OPA's. Raises RefusedError."""
    numbers = [inner[side]["Number"]["value"] for side in ("lhs", "rhs") if "Number" in inner[side]]
    if any(number * 1024 % 1 for number in numbers):
        raise RefusedError(place, "fractions are rounded differently than in OPA. Use whole numbers")
    if inner["op"] in ("Div", "Mod"):
        if "Number" not in inner["rhs"]:
            message = "a division by a computed number may be rounded differently than in OPA. Multiply instead"
            raise RefusedError(place, message)
        if not inner["rhs"]["Number"]["value"]:
            raise RefusedError(place, "divide by zero")


def check_order(place: SourcePosition, nodes: list[Node], *, either: bool = False) -> None:
    """Refuse to order sets and objects: the engine puts sets first. Raises RefusedError."""
    found = {kind for node in nodes for kind in collections(node)}
    if len(found) == 2 or (either and found):
        raise RefusedError(place, "sets and objects have a different order in OPA. Compare their elements")


def collections(node: Node) -> Iterator[str]:
    """Yield `Set` and `Object` for those that an expression has."""
    ((kind, inner),) = node.items()
    if kind in ("Set", "SetCompr", "Object", "ObjectCompr"):
        yield kind.removesuffix("Compr")
    if kind in ("Array", "Set"):
        for item in inner["items"]:
            yield from collections(item)
