"""The context of one translation: its formats, its model, the names of its tools, and its losses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wirekey.features.translation.identifiers import DocumentNames, ToolNames
from wirekey.features.translation.models import Traits, traits_of
from wirekey.features.translation.options import Fitting

if TYPE_CHECKING:
    from wirekey.features.translation import neutral as n
    from wirekey.features.translation.format_rules import FormatRules
    from wirekey.features.translation.losses import Losses

MAX_CACHE_MARKS = 4


@dataclass(slots=True)
class Context:
    """One translation of a request from the format `client` to the format `upstream`.

    `tool_names` is kept for the response, in which the tools get the client's names again.
    """

    client: FormatRules
    upstream: FormatRules
    model: str
    losses: Losses
    default_max_tokens: int = 8192
    older_limit: bool = False
    traits: Traits = field(init=False)
    tool_names: ToolNames = field(init=False)
    document_names: DocumentNames = field(init=False, default_factory=DocumentNames)
    cache_marks: int = field(init=False, default=0)
    betas: list[str] = field(init=False, default_factory=list)
    """Beta flags of Anthropic's API that the upstream accepts in the body."""

    def __post_init__(self) -> None:
        self.traits = traits_of(self.model, self.upstream.traits)
        self.tool_names = ToolNames(self.upstream.tool_names)

    @property
    def fitting(self) -> Fitting:
        """The upstream and the model that options are fitted to."""
        return Fitting(
            self.upstream.options, self.traits, self.client.member_names, self.losses, self.default_max_tokens
        )

    def name(self, member: str) -> str:
        """Return the client's name of a neutral member."""
        return self.client.member_names.get(member, member)

    def adjust(self, member: str) -> None:
        """Record that a member is carried, but not as it was."""
        self.losses.adjust(self.name(member))

    def drop(self, member: str) -> None:
        """Record that a member is left out."""
        self.losses.drop(self.name(member))

    def refuse(self, member: str, reason: str) -> None:
        """Raise Refusal for a member, unless the operator lets it go."""
        self.losses.refuse(self.name(member), reason)

    def drop_mark(self, mark: n.CacheMark | None) -> None:
        """Record that a mark is left out, if there is one."""
        if mark:
            self.drop("cache")

    def drop_marks_of(self, result: n.ToolResult) -> None:
        """Record that the marks of a result of a tool are left out, if there are any."""
        for block in (result, *result.content):
            self.drop_mark(block.cache)

    def cache_mark(self, mark: n.CacheMark | None) -> n.CacheMark | None:
        """Return a mark if the upstream still accepts one: it accepts four."""
        if mark is None:
            return None
        self.cache_marks += 1
        if self.cache_marks <= MAX_CACHE_MARKS:
            return mark
        self.drop("cache")
        return None
