"""The losses of a translation: adjusted, dropped and refused members."""

from __future__ import annotations

from dataclasses import dataclass, field

from wirekey.core.errors import Refusal

MAX_HEADER_BYTES = 1024


def cannot_translate(member: str, reason: str) -> Refusal:
    """Return the refusal of a request with a member that cannot be translated.

    `member` is a path of names and indices, such as `messages[3].content[1].image_url.url`; it never has a value of the
    request. `reason` says why, and what to do.
    """
    return Refusal(400, "cannot_translate", f"{member}: {reason}.", param=member)


@dataclass(slots=True)
class Losses:
    """Collects the members that one request loses, by the client's own names.

    `strict` refuses every loss. `allowed` has the names of members that the operator lets go although leaving them out
    changes the meaning. Names of members that no table knows are content, so they are only counted. `route` is what
    messages call the route.
    """

    strict: bool = False
    allowed: frozenset[str] = frozenset()
    route: str = "the route"
    adjusted: set[str] = field(default_factory=set)
    dropped: set[str] = field(default_factory=set)
    unknown: int = 0

    def adjust(self, member: str) -> None:
        """Record a member that is carried, but not as it was. Raises Refusal if nothing may be lost."""
        self._check(member, "the upstream does not support this value as it is")
        self.adjusted.add(member)

    def report(self, name: str) -> None:
        """Record a part of the response that is not as the client's format wants it. It is too late to refuse."""
        self.adjusted.add(name)

    def drop(self, member: str) -> None:
        """Record a member that is left out and does not change the meaning. Raises Refusal if nothing may be lost."""
        self._check(member, "the upstream has no such member")
        self.dropped.add(member)

    def drop_unknown(self, count: int = 1) -> None:
        """Count members that no table knows."""
        if self.strict and count:
            raise cannot_translate("request", "it has members that Wirekey does not know")
        self.unknown += count

    def refuse(self, member: str, reason: str, name: str | None = None) -> None:
        """Raise Refusal for a member that would change the meaning, unless the operator lets `name` go.

        `name` is the name without indices; it defaults to `member`.
        """
        if (name or member) not in self.allowed:
            raise cannot_translate(member, f"{reason}; leave it out, or list it in `translation.drop` of {self.route}")
        self.dropped.add(name or member)

    def _check(self, member: str, reason: str) -> None:
        if self.strict and member not in self.allowed:
            raise cannot_translate(member, f"{reason}, and losses are refused; leave it out")

    def headers(self) -> dict[str, str]:
        """Return `x-wirekey-adjusted` and `x-wirekey-dropped`, sorted, each of at most 1024 bytes."""
        found = {}
        if self.adjusted:
            found["x-wirekey-adjusted"] = _listed(sorted(self.adjusted), 0)
        if self.dropped or self.unknown:
            found["x-wirekey-dropped"] = _listed(sorted(self.dropped), self.unknown)
        return found

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Return each name after `adjusted` or `dropped`. The name of members that no table knows is ""."""
        unknown = [""] if self.unknown else []
        return (
            *(("adjusted", name) for name in sorted(self.adjusted)),
            *(("dropped", name) for name in (*sorted(self.dropped), *unknown)),
        )


def _listed(names: list[str], unknown: int) -> str:
    shown = list(names)
    while True:
        hidden = len(names) - len(shown)
        parts = [*shown, *([f"+{hidden}"] if hidden else []), *([f"+{unknown} unknown"] if unknown else [])]
        text = ", ".join(parts)
        if len(text) <= MAX_HEADER_BYTES:
            return text
        shown.pop()
