"""Which models there are over all providers and routes, and how each provider's format lists them. Pure.

A model is listed under the name that a client asks for it by: as its provider lists it, or as a route that fits only
one name, or sends one, has it. Whether an agent may call it is the policy's to say, asked as of that very call.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from wirekey.call import Call
from wirekey.providers import PROVIDERS
from wirekey.providers.gemini.requests import ACTIONS
from wirekey.providers.protocol import Facts, Kind
from wirekey.routing.gateway_paths import is_geminis

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from wirekey.providers.protocol import Operation
    from wirekey.routing.routes import Route

type Document = dict[str, Any]

MOST_MODELS = 1000
"""More than all providers list together; the policy is asked about each."""
LONGEST_NAME = 256

LISTS = {
    "openai": ("/v1/models",),
    "gemini": ("/v1beta/models?pageSize=1000",),
    "anthropic": ("/v1/models?limit=1000",),
    "bedrock": ("/foundation-models", "/inference-profiles?maxResults=1000"),
}
"""Where each provider lists its models."""
EPOCH = "1970-01-01T00:00:00Z"
"""Anthropic's word for a date that is not known."""
WILD = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Entry:
    """One model. `provider` is the one in whose format, and with whose name for it, it is called.

    `own`: what the provider itself says of it, in its own format; None: a route's name, or Bedrock's. `methods`:
    Gemini's word for what it can do. `created`: Unix seconds; 0: not known.
    """

    id: str
    provider: str
    name: str = ""
    created: int = 0
    methods: tuple[str, ...] = ()
    own: Document | None = None


# From the providers' lists.


def read_list(provider: str, document: object) -> tuple[Entry, ...]:
    """Give the models of one of the answers to `LISTS`; what cannot be read of it is left out."""
    rows = document if isinstance(document, dict) else {}
    found: dict[str, Entry] = {}
    for key in ("data", "models", "modelSummaries", "inferenceProfileSummaries"):
        for row in rows.get(key) or () if isinstance(rows.get(key), list) else ():
            entry = _read(provider, row) if isinstance(row, dict) else None
            if entry and 0 < len(entry.id) <= LONGEST_NAME and entry.id.isascii() and entry.id.isprintable():
                found.setdefault(entry.id, entry)
    return tuple(found.values())[:MOST_MODELS]


def _read(provider: str, row: Document) -> Entry | None:
    match provider:
        case "gemini":
            methods = row.get("supportedGenerationMethods")
            usable = tuple(each for each in methods if isinstance(each, str)) if isinstance(methods, list) else ()
            name = _text(row, "name").removeprefix("models/")
            return Entry(name, provider, _text(row, "displayName"), methods=usable, own=row)
        case "bedrock":
            return _of_bedrock(row)
        case "anthropic":
            return Entry(
                _text(row, "id"), provider, _text(row, "display_name"), _seconds(row.get("created_at")), own=row
            )
    created = row.get("created")
    return Entry(_text(row, "id"), provider, created=created if type(created) is int else 0, own=row)


def _of_bedrock(row: Document) -> Entry | None:
    """Give a model that can be called by its own name, or a profile."""
    if profile := _text(row, "inferenceProfileId"):
        return Entry(profile, "bedrock", _text(row, "inferenceProfileName"))
    ways = row.get("inferenceTypesSupported")
    if isinstance(ways, list) and "ON_DEMAND" not in ways:
        return None
    return Entry(_text(row, "modelId"), "bedrock", _text(row, "modelName"))


def _text(row: Document, key: str) -> str:
    value = row.get(key)
    return value if isinstance(value, str) else ""


def _seconds(written: object) -> int:
    try:
        return int(datetime.fromisoformat(written).timestamp()) if isinstance(written, str) else 0
    except (ValueError, OverflowError):
        return 0


# Together with the routes.


def catalogue(lists: Mapping[str, Iterable[Entry]], routes: Sequence[Route]) -> tuple[Entry, ...]:
    """Give the models of all `lists` (by provider) and of the routes, the routes' names first, each name once.

    What is listed twice is called as the first of its providers has it. Left out is what cannot be called here.
    """
    known: dict[str, Entry] = {}
    for entries in lists.values():
        for entry in entries:
            known.setdefault(entry.id, entry)
    found: dict[str, Entry] = {}
    for entry in (*_of_routes(routes, known), *known.values()):
        if entry.id not in found and operation_of(entry) is not None:
            found[entry.id] = entry
            if len(found) == MOST_MODELS:
                break
    return tuple(found.values())


def _of_routes(routes: Sequence[Route], known: Mapping[str, Entry]) -> Iterator[Entry]:
    for route in routes:
        literal = route.pattern if not WILD & set(route.pattern) else None
        sent = route.model.name if route.model else None
        for name in (literal, sent):
            if not name:
                continue
            listed = known.get(name) or (known.get(sent) if sent else None)
            provider = route.provider or (listed.provider if listed else "gemini" if is_geminis(name) else "openai")
            if listed and listed.provider == provider:
                # Under another name it has none of the provider's own words, which name it.
                yield listed if listed.id == name else replace(listed, id=name, own=None, name=name)
            else:
                yield Entry(name, provider)


# As a call.


def operation_of(entry: Entry) -> Operation | None:
    """Give the operation by which a model is called; None: there is none that passes here."""
    found = PROVIDERS[entry.provider].match_operation("POST", path_of(entry), {})
    return found if found and found.kind is Kind.INFERENCE else None


def path_of(entry: Entry) -> str:
    """Give the path of a call of a model, as its provider knows it; "" where it has none that passes here."""
    match entry.provider:
        case "gemini":
            usable = entry.methods or ("embedContent" if "embedding" in entry.id else "generateContent",)
            action = next((action for action in ACTIONS if action in usable), "")
            return f"/v1beta/models/{entry.id}:{action}"
        case "anthropic":
            return "/v1/messages"
        case "bedrock":
            return f"/model/{quote(entry.id, safe='')}/{'invoke' if '.titan-embed' in entry.id else 'converse'}"
    return "/v1/embeddings" if "embedding" in entry.id else "/v1/chat/completions"


def as_call(entry: Entry, listing: Call) -> Call:
    """Give the call of a model that the agent of `listing` would make: of its request only the model is known."""
    return Call(
        id=listing.id,
        started_at=listing.started_at,
        client=listing.client,
        agent=listing.agent,
        provider=entry.provider,
        method="POST",
        path=path_of(entry),
        operation=operation_of(entry),
        facts=Facts(model=entry.id),
        simulated=listing.simulated,
    )


# In the formats of the providers.


def listed(shape: str, entries: Sequence[Entry]) -> Document:
    """Give all entries in the format of `shape`: openai, gemini or anthropic. There is one page only."""
    rows = [described(shape, entry) for entry in entries]
    match shape:
        case "gemini":
            return {"models": rows}
        case "anthropic":
            ends = {"first_id": entries[0].id if entries else None, "last_id": entries[-1].id if entries else None}
            return {"data": rows, "has_more": False, **ends}
    return {"object": "list", "data": rows}


def described(shape: str, entry: Entry) -> Document:
    """Give one entry in the format of `shape`: in the provider's own words where it is its own format."""
    if shape == entry.provider and entry.own is not None:
        return entry.own
    match shape:
        case "gemini":
            name = {"name": f"models/{entry.id}", "displayName": entry.name or entry.id}
            # In Gemini's own format only Gemini's models are called.
            methods = path_of(entry).rpartition(":")[2:] if entry.provider == "gemini" else ()
            return {**name, "supportedGenerationMethods": list(entry.methods or methods)}
        case "anthropic":
            day = (
                datetime.fromtimestamp(entry.created, UTC).isoformat().replace("+00:00", "Z")
                if entry.created
                else EPOCH
            )
            return {"type": "model", "id": entry.id, "display_name": entry.name or entry.id, "created_at": day}
    return {"id": entry.id, "object": "model", "created": entry.created, "owned_by": entry.provider}
