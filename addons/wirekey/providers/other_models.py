"""The other models that a request names, which may respond or help with the response.

Anthropic's `fallbacks` and its advisor tool; OpenAI's image tool, its `moderation` and its author of `svg`; `models` of
servers that speak like OpenAI and try several.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

from wirekey.providers.request_json import check_model, malformed, read_model, read_object, refuse_lookalikes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wirekey.providers.request_json import JsonObject

MOST_OTHER_MODELS = 32
OTHER_MODEL_KEYS = frozenset(["models", "fallbacks", "moderation", "svg"])
FREE = re.compile(r"(omni|text)-moderation-")
"""https://platform.openai.com/docs/guides/moderation"""

_MODEL = frozenset({"model"})
_LISTED_KEYS = frozenset({"model", "max_tokens", "speed"})


def read_other_models(body: JsonObject, tools: Iterable[JsonObject], model: str | None) -> tuple[str, ...]:
    """Return the models that a request names in addition to `model`, each once, in its order.

    A word in place of a list of fallbacks (`default`) counts as a name: the provider chooses then. Raises
    Refusal(400) if something is no name of a model, or if a list or the request has more than MOST_OTHER_MODELS.
    """
    return others(chain(_of_request(body), (name for tool in tools for name in _of_tool(tool))), model)


def others(named: Iterable[str | None], model: str | None) -> tuple[str, ...]:
    """Return each name once, without `model`. Raises Refusal(400) if there are more than MOST_OTHER_MODELS."""
    found: dict[str, None] = {}
    for name in named:
        if name is not None and name != model:
            found[name] = None
            if len(found) > MOST_OTHER_MODELS:
                raise malformed(f"it names more than {MOST_OTHER_MODELS} further models")
    return tuple(found)


def priced_models(names: Iterable[str]) -> tuple[str, ...]:
    """Return names without those of models that only check what others write, which cost nothing."""
    return tuple(name for name in names if not FREE.match(name))


def _of_request(body: JsonObject) -> Iterator[str | None]:
    for key in ("models", "fallbacks"):
        if key in body.values:
            yield from _listed(body, key)
    for key in ("moderation", "svg"):
        yield from _inner(body, key)


def _of_tool(tool: JsonObject) -> Iterator[str | None]:
    if "model" in tool.values:
        yield read_model(tool)
    yield from _inner(tool, "svg")


def _inner(parent: JsonObject, key: str) -> Iterator[str | None]:
    # OpenAI's images have a word under `moderation`, its responses an object.
    if parent.starts(key, b"{") and (child := parent.child(key)):
        refuse_lookalikes(child, _MODEL)
        yield read_model(child)


def _listed(parent: JsonObject, key: str) -> Iterator[str | None]:
    if parent.starts(key, b'"'):
        yield read_model(parent, key)
        return
    for index, raw in enumerate(parent.items(key)):
        if index == MOST_OTHER_MODELS:
            raise malformed(f"{parent.where(key)} has more than {MOST_OTHER_MODELS} items")
        where = f"{parent.where(key)}[{index}]"
        if bytes(memoryview(raw)[:1]) == b'"':
            yield _text(bytes(raw), where)
        else:
            listed = read_object(bytes(raw), where)
            refuse_lookalikes(listed, _LISTED_KEYS)
            yield read_model(listed)


def _text(data: bytes, where: str) -> str:
    text = read_object(b'{"name":' + data + b"}", where).text("name") or ""
    check_model(text, where)
    return text
