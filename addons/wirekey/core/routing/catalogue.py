"""Lists the models of all providers and routes. Pure.

A model is listed under the name that a client asks for it by: as its provider lists it, or as a route that fits only
one name, or sends one, has it. The policy decides for each model whether an agent may call it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wirekey.core.call import Call
from wirekey.core.model_name import ModelName, is_plain
from wirekey.core.operation import Facts, Kind
from wirekey.providers.model_list import MOST_MODELS, ListedModel
from wirekey.providers.registry import PROVIDERS, owner_of_model, provider_of_backend

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from wirekey.core.operation import Operation
    from wirekey.core.routing.candidate import Candidate
    from wirekey.core.routing.routes import Route

WILD = frozenset("*?[")


def catalogue(
    lists: Mapping[str, Iterable[ListedModel]], routes: Sequence[Route], *, translates: bool = True
) -> tuple[ListedModel, ...]:
    """Return the models of all `lists` (by provider) and of the routes, the routes' names first, each name once.

    A model that several providers list has the entry of the first one. Models that cannot be called are left out.
    `translates` is True if the model of a route can be called in every format.
    """
    known: dict[str, ListedModel] = {}
    for entries in lists.values():
        for entry in entries:
            known.setdefault(entry.id, entry)
    found: dict[str, ListedModel] = {}
    for entry in (*_of_routes(routes, known, translates=translates), *known.values()):
        if entry.id not in found and operation_of(entry) is not None:
            found[entry.id] = entry
            if len(found) == MOST_MODELS:
                break
    return tuple(found.values())


def _of_routes(routes: Sequence[Route], known: Mapping[str, ListedModel], *, translates: bool) -> Iterator[ListedModel]:
    for route in routes:
        literal = route.pattern if not WILD & set(route.pattern) else None
        sent = route.model.name if route.model else None
        for name in (literal, sent):
            if not name:
                continue
            listed = known.get(name) or (known.get(sent) if sent else None)
            provider = listed.provider if listed else owner_of_model(name)
            provider = provider_of_backend(route.provider) if route.provider else provider
            reached = translates and route.fits(name)
            if listed and listed.provider == provider:
                # Under another name it has none of the provider's own words, which name it.
                own = listed if listed.id == name else replace(listed, id=name, own=None, name=name)
                yield replace(own, in_every_format=reached)
            else:
                yield ListedModel(name, provider, in_every_format=reached)


def models_of_backends(defaults: Mapping[str, Candidate]) -> dict[str, list[ListedModel]]:
    """Return the models of each enabled backend, with its name and Google's in front."""
    return {
        name: [
            ListedModel(f"{name}:google/{model.removeprefix('google/')}", candidate.provider, in_every_format=True)
            for model in candidate.listed
        ]
        for name, candidate in defaults.items()
        if candidate.listed
    }


def operation_of(entry: ListedModel) -> Operation | None:
    """Return the operation by which a model is called, or None if Wirekey lets none through."""
    provider = PROVIDERS[entry.provider]
    found = provider.operations.match_operation(
        "POST", provider.operations.plain_target(provider.models.inference_path(entry)), {}
    )
    return found if found and found.kind is Kind.INFERENCE else None


def as_call(entry: ListedModel, listing: Call) -> Call:
    """Return the call of a model that the agent of `listing` would make. Of its request, only the model is known."""
    named = None if is_plain(entry.id) else ModelName.parse(entry.id)
    return Call(
        id=listing.id,
        started_at=listing.started_at,
        client=listing.client,
        agent=listing.agent,
        header_labels=listing.header_labels,
        provider=entry.provider,
        method="POST",
        path=PROVIDERS[entry.provider].models.inference_path(entry),
        operation=operation_of(entry),
        facts=Facts(model=named.name if named else entry.id),
        backend=named.backend if named else None,
        model_prefix=named.prefix if named else "",
        simulated=listing.simulated,
    )
