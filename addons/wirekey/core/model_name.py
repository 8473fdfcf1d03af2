"""Model strings: `[BACKEND:][VENDOR/]MODEL[?NAME=VALUE[&…]]`, such as `gemini:gemini-2.5-pro?temperature=0.7`. Pure.

The name wins over the body. A parameter that a request cannot hold is refused, never dropped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

type Value = int | float | str

MODEL_LENGTH = 256
"""Characters of the longest name that is accepted."""

PREFIX = r"[a-z][a-z0-9]{0,31}(?:-[a-z0-9]{1,31}){0,7}"
"""Pattern of what may be the name of a provider or a backend. `is_prefix` returns whether it is one."""

_prefixes: set[str] = set()
_BACKEND = re.compile(r"gemini-(?:oauth|cli)(?:-[a-z]{1,16}){1,3}")
_PREFIX = re.compile(rf"({PREFIX}):(?=.)")
_VENDOR = re.compile(r"(google)/(?=.)")
_vendor_after: set[str] = set()
"""The providers after whose names a vendor may stand, as it may after any backend."""
_CAPITAL = re.compile(r"(?<=[a-z])([A-Z])")
_ALIASES = {"max_output_tokens": "max_tokens", "max_completion_tokens": "max_tokens", "effort": "reasoning_effort"}
_NUMBER = re.compile(r"-?\d{1,9}(?:\.\d{1,9})?")
_WHOLE = re.compile(r"-?\d{1,15}")


def register_prefixes(names: Iterable[str], vendor_after: Iterable[str] = ()) -> None:
    """Allow the names of providers in front of models. `vendor_after`: those after which a vendor may stand.

    A name stays a prefix when the configuration no longer has its provider, so that calls with it are refused.
    """
    _prefixes.update(names)
    _vendor_after.update(vendor_after)


def is_prefix(name: str) -> bool:
    """Return whether a name in front of a model is that of a provider or a backend.

    A name that looks like a backend is one, so that it is refused if unknown.
    """
    return name in _prefixes or _BACKEND.fullmatch(name) is not None


def has_unknown_prefix(text: str) -> bool:
    """Return whether something else than a provider or a backend stands before the first colon of a name."""
    name, colon, _ = text.partition(":")
    return bool(colon) and not is_prefix(name)


def _prefix_of(name: str) -> str | None:
    found = _PREFIX.match(name)
    return found[1] if found and is_prefix(found[1]) else None


def _between(least: float, most: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        if not _NUMBER.fullmatch(text) or not least <= float(text) <= most:
            raise ValueError(f"must be a number from {least:g} to {most:g}")
        return float(text) if "." in text else int(text)

    return read


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not _WHOLE.fullmatch(text) or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return read


def _word(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text

    return read


READERS: dict[str, Callable[[str], Value]] = {
    "temperature": _between(0, 2),
    "top_p": _between(0, 1),
    "top_k": _whole(1, 10_000),
    "max_tokens": _whole(1, 10_000_000),
    "seed": _whole(-(2**31), 2**31 - 1),
    "presence_penalty": _between(-2, 2),
    "frequency_penalty": _between(-2, 2),
    "reasoning_effort": _word("none", "minimal", "low", "medium", "high", "xhigh"),
    "thinking_budget": _whole(-1, 1_000_000),
    "verbosity": _word("low", "medium", "high"),
}
"""Parameters that a name may have, and how their text is read. Camel case is read, too: `topP`."""

SAMPLING = ("temperature", "top_p")
PENALTIES = ("seed", "presence_penalty", "frequency_penalty")
CHAT_PARAMETERS = (*SAMPLING, "max_tokens", *PENALTIES, "reasoning_effort", "verbosity")
GENERATE_PARAMETERS = (*SAMPLING, "top_k", "max_tokens", *PENALTIES, "reasoning_effort", "thinking_budget")
MESSAGE_PARAMETERS = (*SAMPLING, "top_k", "max_tokens", "reasoning_effort", "thinking_budget")
CONVERSE_PARAMETERS = (*SAMPLING, "max_tokens")


class ModelNameError(ValueError):
    """The name, or one of its parameters, cannot be used. Its text begins with a verb: `has a parameter …`."""


@dataclass(frozen=True, slots=True)
class ModelName:
    """`name` is what the provider is asked for. Parameters are in the order in which they were written.

    `vendor` is `google` where the name has it after a provider or a backend whose models need none, such as `gemini:`.
    Other vendors belong to the name, as routers of models want them.
    """

    name: str
    provider: str | None = None
    parameters: tuple[tuple[str, Value], ...] = ()
    backend: str | None = None
    """The name of a backend, or a name that looks like one."""
    vendor: str | None = None

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Read a name as it is written. Raises ModelNameError."""
        name, mark, query = text.partition("?")
        prefix = _prefix_of(name)
        bare = name[len(prefix) + 1 :] if prefix else name
        is_backend = prefix is not None and _BACKEND.fullmatch(prefix) is not None
        vendor = _VENDOR.match(bare) if is_backend or prefix in _vendor_after else None
        bare = bare[vendor.end() :] if vendor else bare
        if not bare:
            raise ModelNameError("has parameters and no name before them")
        return cls(
            bare,
            None if is_backend else prefix,
            tuple(_parameters(query)) if mark else (),
            prefix if is_backend else None,
            vendor[1] if vendor else None,
        )

    @property
    def destination(self) -> str | None:
        """The provider or backend in front of the name, or None."""
        return self.provider or self.backend

    @property
    def prefix(self) -> str:
        """The text before `name`: `gemini-cli-acp:google/`."""
        return (f"{self.destination}:" if self.destination else "") + (f"{self.vendor}/" if self.vendor else "")

    def __str__(self) -> str:
        written = "&".join(f"{name}={value}" for name, value in self.parameters)
        return f"{self.prefix}{self.name}" + (f"?{written}" if written else "")


def is_plain(text: str) -> bool:
    """Return whether a name has neither provider, backend nor parameters, without parsing it."""
    return "?" not in text and (":" not in text or _prefix_of(text) is None)


def _parameters(query: str) -> Iterator[tuple[str, Value]]:
    seen = set()
    for piece in query.split("&"):
        written, _, value = piece.partition("=")
        folded = _CAPITAL.sub(r"_\1", written).lower()
        name = _ALIASES.get(folded, folded)
        if name not in READERS:
            raise ModelNameError(f"has a parameter {written[:32]!r}; there are {', '.join(READERS)}")
        if name in seen:
            raise ModelNameError(f"has the parameter {name} twice")
        seen.add(name)
        try:
            yield name, READERS[name](unquote(value))
        except ValueError as error:
            raise ModelNameError(f"has a parameter {name}, which {error}") from None
