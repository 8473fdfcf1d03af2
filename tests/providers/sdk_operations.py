"""Reads from the source of the installed SDKs which operations they call: method, path, and whether there is a body.

A path has `{}` for each part that a program fills in. Nothing of the SDKs is imported or called: their sources are
read, so that a new version shows what is new.
"""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import botocore.loaders

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLS = {"_get": "GET", "_post": "POST", "_put": "PUT", "_patch": "PATCH", "_delete": "DELETE"}
PLACEHOLDER = re.compile(r"\{[^}]*\}")
GEMINI_RESOURCES = {
    "batches": ("batches/{}",),
    "caches": ("cachedContents/{}",),
    "documents": ("fileSearchStores/{}/documents/{}",),
    "file_search_stores": ("fileSearchStores/{}", "fileSearchStores/{}/documents/{}"),
    "files": ("files/{}",),
    "models": ("models/{}", "tunedModels/{}"),
    "operations": ("models/{}/operations/{}", "fileSearchStores/{}/operations/{}", "tunedModels/{}/operations/{}"),
    "tunings": ("tunedModels/{}",),
}
"""Module → what a path that begins with a resource's name begins with: names have slashes there."""
MODELS = ("models/{}", "tunedModels/{}")


class SdkOperation(NamedTuple):
    """One operation as an SDK calls it."""

    method: str
    path: str
    body: str
    """none, json or form."""


def of_stainless(package: str, prefix: str = "") -> set[SdkOperation]:
    """Return the operations of an SDK that Stainless generates: OpenAI's and Anthropic's."""
    found: set[SdkOperation] = set()
    for file in sorted((folder_of(package) / "resources").rglob("*.py")):
        for function in ast.walk(ast.parse(file.read_text())):
            if isinstance(function, ast.FunctionDef):
                found |= {each._replace(path=prefix + each.path) for each in stainless_calls(function)}
    return found


def stainless_calls(function: ast.FunctionDef) -> Iterator[SdkOperation]:
    """Yield the calls of a method of a resource."""
    sends_form = any("multipart/form-data" in text for text in texts_in(function))
    for call in ast.walk(function):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.args):
            continue
        keywords = {keyword.arg: keyword.value for keyword in call.keywords}
        name, path = call.func.attr, next(texts_in(call.args[0]), None)
        if path is None or not path.startswith("/"):
            continue
        if name == "_get_api_list":
            method = next(texts_in(keywords["method"]), "get").upper() if "method" in keywords else "GET"
        elif name in CALLS:
            method = CALLS[name]
        else:
            continue
        has_body = bool({"body", "content"} & keywords.keys())
        body = ("form" if sends_form else "json") if has_body else "none"
        yield SdkOperation(method, plain(path), body)


def of_mistral() -> set[SdkOperation]:
    """Return the operations of Mistral's SDK, whose requests are all made by `_build_request`."""
    found: set[SdkOperation] = set()
    for file in sorted((folder_of("mistralai.client")).glob("*.py")):
        for call in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr == "_build_request"
            ):
                given = {keyword.arg: keyword.value for keyword in call.keywords}
                written = ast.unparse(given["get_serialized_body"]) if "get_serialized_body" in given else ""
                body = ("form" if "multipart" in written else "json") if written else "none"
                method, path = next(texts_in(given["method"])), next(texts_in(given["path"])).partition("#")[0]
                found.add(SdkOperation(method, plain(path), body))
    return found


def of_gemini() -> set[SdkOperation]:
    """Return the operations of the Google Gen AI SDK at the Gemini API, below /v1beta."""
    found: set[SdkOperation] = set()
    folder = folder_of("google.genai")
    for module in (*GEMINI_RESOURCES, "tokens"):
        for function in ast.walk(ast.parse((folder / f"{module}.py").read_text())):
            if isinstance(function, ast.FunctionDef):
                found |= set(gemini_calls(module, function))
    for file in sorted((folder / "_interactions" / "resources").glob("*.py")):
        for function in ast.walk(ast.parse(file.read_text())):
            if isinstance(function, ast.FunctionDef):
                found |= set(interaction_calls(function))
    return found


def gemini_calls(module: str, function: ast.FunctionDef) -> Iterator[SdkOperation]:
    """Yield the calls of a method at the Gemini API, without those at Vertex AI."""
    methods = [
        next(texts_in(call.args[0]))
        for call in ast.walk(function)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr.startswith("request")
        if call.args and isinstance(call.args[0], ast.Constant)
    ]
    for method in methods:
        for path in gemini_paths(function):
            for whole in whole_paths(module, path):
                has_body = method in ("post", "patch", "put")
                yield SdkOperation(method.upper(), whole, "json" if has_body else "none")


def gemini_paths(function: ast.FunctionDef) -> set[str]:
    """Return the texts that a method sets `path` to, except where it calls Vertex AI."""
    found: set[str] = set()
    waiting: list[ast.stmt] = list(function.body)
    while waiting:
        statement = waiting.pop()
        if isinstance(statement, ast.If):
            test = ast.unparse(statement.test)
            if "vertexai" not in test:
                waiting += statement.body + statement.orelse
            else:
                waiting += statement.body if test.startswith("not ") else statement.orelse
        elif isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "path":
            value = statement.value.func if isinstance(statement.value, ast.Call) else statement.value
            if not isinstance(value, ast.JoinedStr) and (text := next(texts_in(value), "")):
                found.add(text)
    return found


def whole_paths(module: str, path: str) -> Iterator[str]:
    """Yield the paths that a path of the SDK stands for, as `{name}` may be of several kinds of resources."""
    path = path.replace("{models_url}", "models").replace("{file_search_store_name}", "fileSearchStores/{}")
    path = path.replace("{parent}", "fileSearchStores/{}")
    is_of_model, path = path.startswith("{model}"), plain(path)
    if path.startswith("upload/"):
        yield f"/{path}"
    elif path.startswith("{}"):
        beginnings = MODELS if is_of_model else GEMINI_RESOURCES[module]
        yield from (f"/v1beta/{beginning}{path[2:]}" for beginning in beginnings)
    else:
        yield f"/v1beta/{path}"


def interaction_calls(function: ast.FunctionDef) -> Iterator[SdkOperation]:
    """Yield the calls of a method of the part of the SDK that Stainless generates."""
    for call in ast.walk(function):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in CALLS):
            continue
        for inner in ast.walk(call):
            if isinstance(inner, ast.keyword) and inner.arg == "path":
                has_body = any(keyword.arg == "body" for keyword in call.keywords)
                path = "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in parts_of(inner.value))
                yield SdkOperation(CALLS[call.func.attr], f"/v1beta/{path}", "json" if has_body else "none")


def parts_of(text: ast.expr) -> list[ast.expr]:
    """Return the parts of a text, or of an f-string."""
    return text.values if isinstance(text, ast.JoinedStr) else [text]


def of_botocore(service: str) -> dict[str, SdkOperation]:
    """Return the operations of a service of AWS by name, as botocore's model of it has them."""
    model = botocore.loaders.Loader().load_service_model(service, "service-2")
    found = {}
    for name, operation in model["operations"].items():
        shape = model["shapes"][operation["input"]["shape"]] if "input" in operation else {"members": {}}
        in_body = [member for member in shape["members"].values() if "location" not in member]
        http = operation["http"]
        body = "json" if in_body and http["method"] != "GET" else "none"
        found[name] = SdkOperation(http["method"], plain(http["requestUri"]).rstrip("/"), body)
    return found


def folder_of(package: str) -> Path:
    """Return the folder of an installed package."""
    spec = find_spec(package)
    assert spec
    assert spec.origin
    return Path(spec.origin).parent


def texts_in(node: ast.AST) -> Iterator[str]:
    """Yield the strings in an expression or a statement."""
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value


def plain(path: str) -> str:
    """Return a path without its query, with `{}` for each part that a program fills in."""
    return PLACEHOLDER.sub("{}", path.partition("?")[0])
