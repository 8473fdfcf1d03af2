"""The rules of a format: the members that it accepts and carries, as the code of the other side asks for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping

    from wirekey.features.translation import neutral as n
    from wirekey.features.translation.models import Traits
    from wirekey.providers.format import Format


@dataclass(frozen=True, slots=True)
class AcceptedOptions:
    """The options that a format has, by their neutral names, and the values that it accepts."""

    names: frozenset[str]
    most_temperature: int | None
    most_stops: int | None
    blank_stops: bool
    needs_limit: bool
    """Whether a request must have a limit of output tokens."""
    least_limit: int | None
    tiers: Mapping[str, str]
    """Its service tiers, by OpenAI's names."""
    alternative: tuple[str, frozenset[str]] | None
    """Another format of the same provider, and the options that it has."""


@dataclass(frozen=True, slots=True)
class NameLimits:
    """The names of tools that a format accepts. `letter_first`: a name starts with a letter or an underscore."""

    allowed: re.Pattern[str]
    longest: int
    letter_first: bool


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class FormatRules:
    """The members that a format accepts and carries. No attribute has a default, so none can be forgotten."""

    wire: Format
    """The format as every call needs it."""
    member_names: Mapping[str, str]
    """Its own names of neutral members, for reports."""
    traits: Traits
    """The traits of a model whose name belongs to no known family."""
    options: AcceptedOptions
    call_ids: re.Pattern[str]
    """The ids of calls that it accepts."""
    tool_names: NameLimits
    own_states: n.ModelMaker | None
    """The maker whose reasoning state it carries as it is."""
    binary_states: bool
    """Whether a reasoning state may be bytes that are no text."""
    accepts_blank_text: bool
    beta_makers: frozenset[n.ModelMaker]
    """The makers of models that get beta flags of Anthropic's API in the body."""
    describes_output: bool
    """Whether the schema of a response may have a description."""
    always_strict: bool
    """Whether programs say of every tool that it is strict, so that nothing is lost without it."""
    cache_breakpoints: bool
    """Whether its marks for the cache are OpenAI's breakpoints."""

    @property
    def name(self) -> str:
        """The name that configuration, headers and the audit use."""
        return self.wire.name

    def __str__(self) -> str:
        return self.name
