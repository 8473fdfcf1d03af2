"""Fits the sampling options and the bookkeeping of a request to the format and the model that it goes to.

Each format says which options it has. A table says why an option is refused if the upstream lacks it. Other options
are left out and reported: they are hints, bookkeeping, or about speed and cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from wirekey.features.translation.members import raw_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.features.translation import neutral as n
    from wirekey.features.translation.format_rules import AcceptedOptions, FormatRules
    from wirekey.features.translation.losses import Losses
    from wirekey.features.translation.models import Traits

REFUSED: Mapping[str, str] = {
    "stop": "the upstream has no stop sequences, so the response would run on",
    "n": "the upstream makes one response for each request",
    "logprobs": "the upstream has no log probabilities",
    "top_logprobs": "the upstream has no log probabilities",
    "cached_content": "a part of the prompt is in the cache of another provider",
    "gemini_cached_content": "a part of the prompt is in the cache of another provider",
}
"""The options that change the meaning of the response, and why they cannot be left out."""

_DEFAULTS: Mapping[str, frozenset[bytes]] = {
    "n": frozenset({b"1"}),
    "truncation": frozenset({b'"disabled"'}),
    "store": frozenset({b"false"}),
    "logit_bias": frozenset({b"{}"}),
    "logprobs": frozenset({b"false"}),
    "top_logprobs": frozenset({b"0"}),
    "metadata": frozenset({b"{}"}),
    "service_tier": frozenset({b'"auto"'}),
    "presence_penalty": frozenset({b"0", b"0.0"}),
    "frequency_penalty": frozenset({b"0", b"0.0"}),
    "stop": frozenset({b"[]"}),
}
_MOST_CHOICES = 8
SAME_TIERS = {tier: tier for tier in ("default", "flex", "priority", "reserved", "scale")}


@dataclass(frozen=True, slots=True)
class Lost:
    """The options of a format, by its own names, that another format or a model lacks."""

    adjusted: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


NOTHING_LOST = Lost()


def lost_options(client: FormatRules, upstream: FormatRules, traits: Traits) -> Lost:
    """Return what a request of a format may lose of its options, by the format's names of them."""
    adjusted: set[str] = set()
    dropped: set[str] = set()
    refused: set[str] = set()
    for option in client.options.names:
        name = client.member_names.get(option, option)
        if option not in upstream.options.names or option in traits.refused:
            (refused if option in REFUSED else dropped).add(name)
        elif option in traits.unsupported:
            adjusted.add(name)
    return Lost(tuple(sorted(adjusted)), tuple(sorted(dropped)), tuple(sorted(refused)))


@dataclass(frozen=True, slots=True)
class Fitting:
    """The upstream and the model that options are fitted to, and the client's names of the options."""

    accepted: AcceptedOptions
    traits: Traits
    names: Mapping[str, str]
    losses: Losses
    default_max_tokens: int = 8192

    def name(self, option: str) -> str:
        """Return the client's name of an option."""
        return self.names.get(option, option)


def number(raw: Raw) -> float | None:
    """Return a number, or None if the JSON is something else, which the upstream refuses itself."""
    try:
        return msgspec.json.decode(raw, type=float)
    except msgspec.DecodeError:
        return None


def text(raw: Raw) -> str | None:
    """Return a string, or None if the JSON is something else."""
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError:
        return None


def fit_options(conversation: n.Conversation, fitting: Fitting) -> dict[str, Raw]:
    """Return the options that the upstream accepts, by neutral names.

    Raises Refusal for an option that cannot be left out.
    """
    found: dict[str, Raw] = {}
    supported, losses = fitting.accepted.names, fitting.losses
    for option, value in conversation.options.items():
        name = fitting.name(option)
        if bytes(value) in _DEFAULTS.get(option, ()):
            continue
        if option in supported and option in fitting.traits.unsupported:
            if number(value) != 1 or option == "top_k":
                losses.adjust(name)
        elif option in supported and option not in fitting.traits.refused:
            found[option] = value
        elif option in REFUSED:
            losses.refuse(name, _reason(option, fitting))
        else:
            losses.drop(name)
    _fit_sampling(found, fitting)
    _fit_stop(found, fitting)
    _fit_choices(found, conversation, fitting)
    _fit_tier(found, fitting)
    _fit_limit(found, fitting)
    return found


def _reason(option: str, fitting: Fitting) -> str:
    """Return why an option is refused, and the other format of the same provider that has it, if there is one."""
    if fitting.accepted.alternative is None:
        return REFUSED[option]
    other, names = fitting.accepted.alternative
    has = option in names and option not in fitting.traits.refused
    return REFUSED[option] + (f"; set `speaks: {other}` on {fitting.losses.route}" if has else "")


def _fit_sampling(found: dict[str, Raw], fitting: Fitting) -> None:
    temperature = number(found["temperature"]) if "temperature" in found else None
    most = fitting.accepted.most_temperature
    if most is not None and temperature is not None and temperature > most:
        found["temperature"] = raw_json(most)
        fitting.losses.adjust(fitting.name("temperature"))
    if fitting.traits.one_of_temperature_and_top_p and "temperature" in found and "top_p" in found:
        del found["top_p"]
        fitting.losses.adjust(fitting.name("top_p"))


def _fit_stop(found: dict[str, Raw], fitting: Fitting) -> None:
    if "stop" not in found:
        return
    texts = msgspec.json.decode(found["stop"], type=list[str])
    name, most = fitting.name("stop"), fitting.accepted.most_stops
    if most and len(texts) > most:
        fitting.losses.refuse(name, f"the upstream accepts at most {most}")
        del found["stop"]
    elif not fitting.accepted.blank_stops and any(not one.strip() for one in texts):
        fitting.losses.refuse(name, "the upstream accepts no blank stop sequence")
        del found["stop"]


def _fit_choices(found: dict[str, Raw], conversation: n.Conversation, fitting: Fitting) -> None:
    if "n" in found and (conversation.stream or (number(found["n"]) or 0) > _MOST_CHOICES):
        fitting.losses.refuse(fitting.name("n"), f"up to {_MOST_CHOICES} responses can be translated, without a stream")
        del found["n"]


def _fit_tier(found: dict[str, Raw], fitting: Fitting) -> None:
    if "service_tier" not in found:
        return
    asked = text(found.pop("service_tier"))
    tier = fitting.accepted.tiers.get(asked) if asked else None
    if tier is None:
        fitting.losses.drop(fitting.name("service_tier"))
    else:
        found["service_tier"] = raw_json(tier)


def _fit_limit(found: dict[str, Raw], fitting: Fitting) -> None:
    accepted = fitting.accepted
    if accepted.needs_limit and "max_tokens" not in found:
        found["max_tokens"] = raw_json(fitting.default_max_tokens)
        fitting.losses.adjust(fitting.name("max_tokens"))
    limit = number(found["max_tokens"]) if "max_tokens" in found else None
    if accepted.least_limit is not None and limit is not None and limit < accepted.least_limit:
        found["max_tokens"] = raw_json(accepted.least_limit)
        fitting.losses.adjust(fitting.name("max_tokens"))
