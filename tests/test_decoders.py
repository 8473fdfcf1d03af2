"""JSON is decoded into structures by decoders that a module makes when it is imported.

msgspec looks at the fields of a structure when it first decodes one. A second thread that decodes another one at the
same time reads a half-filled table of fields, and the process crashes. Only one thread imports a module.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PRODUCT = Path(__file__).parents[1] / "addons"
WITHOUT_FIELDS = {"str", "int", "float", "bool", "bytes", "list", "dict", "tuple", "Raw", "Any", "msgspec"}


def named(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def late_decoders(source: str) -> list[int]:
    """Return the lines on which a function decodes into a structure without a decoder of the module."""
    found = []
    functions = [
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    for call in (part for function in functions for part in ast.walk(function) if isinstance(part, ast.Call)):
        name = ast.unparse(call.func)
        types = [keyword.value for keyword in call.keywords if keyword.arg == "type"]
        if name == "msgspec.json.Decoder":
            types += call.args[:1]
        if name.startswith("msgspec.json.") and any(named(kind) - WITHOUT_FIELDS for kind in types):
            found.append(call.lineno)
    return found


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("decoder = msgspec.json.Decoder(Key)\ndef read(data):\n    return decoder.decode(data)", []),
        ("def read(data):\n    return msgspec.json.decode(data, type=Key)", [2]),
        ("def read(data):\n    return msgspec.json.decode(data, type=list[Key])", [2]),
        ("async def read(data):\n    return msgspec.json.Decoder(Key).decode(data)", [2]),
        ("def read(data):\n    return msgspec.json.decode(data, type=dict[str, msgspec.Raw])", []),
    ],
)
def test_a_decoder_that_a_function_makes_is_found(source, lines):
    assert late_decoders(source) == lines


def test_no_function_makes_the_decoder_of_a_structure():
    files = sorted(PRODUCT.rglob("*.py"))
    assert len(files) > 400
    assert {str(file.relative_to(PRODUCT)): lines for file in files if (lines := late_decoders(file.read_text()))} == {}
