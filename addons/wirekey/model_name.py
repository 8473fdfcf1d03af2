"""Names of models with a provider in front and parameters behind: `gemini:gemini-2.5-pro?temperature=0.7`. Pure.

The name wins over the body. A parameter that a request cannot hold is refused, never dropped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

type Value = int | float | str

MODEL_LENGTH = 256
"""Characters of the longest name that is accepted."""

_PREFIX = re.compile(r"(openai|gemini|anthropic|bedrock):(?=.)")
_CAPITAL = re.compile(r"(?<=[a-z])([A-Z])")
_ALIASES = {"max_output_tokens": "max_tokens", "max_completion_tokens": "max_tokens", "effort": "reasoning_effort"}
_NUMBER = re.compile(r"-?\d{1,9}(?:\.\d{1,9})?")
_WHOLE = re.compile(r"-?\d{1,15}")


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
}
"""Parameters that a name may have, and how their text is read. Camel case is read, too: `topP`."""

SAMPLING = ("temperature", "top_p")
PENALTIES = ("seed", "presence_penalty", "frequency_penalty")
CHAT_PARAMETERS = (*SAMPLING, "max_tokens", *PENALTIES, "reasoning_effort")
GENERATE_PARAMETERS = (*SAMPLING, "top_k", "max_tokens", *PENALTIES, "thinking_budget")
CONVERSE_PARAMETERS = (*SAMPLING, "max_tokens")


class ModelNameError(ValueError):
    """The name, or one of its parameters, cannot be used. Its text begins with a verb: `has a parameter …`."""


@dataclass(frozen=True, slots=True)
class ModelName:
    """`name` is what the provider is asked for. Parameters are in the order in which they were written."""

    name: str
    provider: str | None = None
    parameters: tuple[tuple[str, Value], ...] = ()

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Read a name as it is written. Raises ModelNameError."""
        name, mark, query = text.partition("?")
        found = _PREFIX.match(name)
        bare = name[found.end() :] if found else name
        if not bare:
            raise ModelNameError("has parameters and no name before them")
        return cls(bare, found[1] if found else None, tuple(_parameters(query)) if mark else ())

    def __str__(self) -> str:
        prefix = f"{self.provider}:" if self.provider else ""
        written = "&".join(f"{name}={value}" for name, value in self.parameters)
        return f"{prefix}{self.name}" + (f"?{written}" if written else "")


def is_plain(text: str) -> bool:
    """Return whether a name has neither provider nor parameters, without parsing it."""
    return "?" not in text and (":" not in text or not _PREFIX.match(text))


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
