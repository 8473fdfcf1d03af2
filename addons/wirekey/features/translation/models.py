"""The traits of families of models, by patterns of names. A new model counts as the newest of its family."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from wirekey.features.translation import neutral as n


@dataclass(frozen=True, slots=True)
class Traits:
    """The requests that a family of models accepts.

    `thinking` is how its reasoning is set: `effort` (a word), `level` (Gemini 3), `budget` (tokens), `adaptive` (Claude
    by effort), `nova`, or `none`. `unsupported` has the neutral names of options that are left out.
    """

    issuer: n.ModelMaker
    thinking: str = "none"
    unsupported: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    one_of_temperature_and_top_p: bool = False
    output_format: bool = True
    pro: bool = False
    least_effort: str = "none"
    """The word for the least reasoning of a model of OpenAI."""
    signatures: bool = False
    """True if a call in the history must have a thought signature (Gemini 3)."""


_SAMPLING = frozenset({"temperature", "top_p", "top_k"})
_PENALTIES = frozenset({"presence_penalty", "frequency_penalty"})

CLAUDE_LATEST = Traits(n.ModelMaker.CLAUDE, "adaptive", _SAMPLING)
_OPENAI_REASONING = Traits(
    n.ModelMaker.OPENAI, "effort", frozenset({"temperature", "top_p"}) | _PENALTIES, frozenset({"logprobs", "stop"})
)
_FAMILIES: tuple[tuple[str, Traits], ...] = (
    # Sources: platform.claude.com (extended thinking, effort, structured outputs), ai.google.dev (thinking, thought
    # signatures), platform.openai.com (reasoning), docs.aws.amazon.com (Nova).
    (r"claude-(instant|v?[12]|3-[0-5]|3-(opus|sonnet|haiku))",
     Traits(n.ModelMaker.CLAUDE, "none", output_format=False)),
    (r"claude-(3-7|(opus|sonnet|haiku)-4-(0|2\d{7}))|claude-(opus|sonnet)-4(?!-\d)",
     Traits(n.ModelMaker.CLAUDE, "budget", output_format=False)),
    (r"claude-opus-4-1", Traits(n.ModelMaker.CLAUDE, "budget", one_of_temperature_and_top_p=True, output_format=False)),
    (r"claude-(opus|sonnet|haiku)-4-5", Traits(n.ModelMaker.CLAUDE, "budget", one_of_temperature_and_top_p=True)),
    (r"claude-(opus|sonnet|haiku)-4-6", Traits(n.ModelMaker.CLAUDE, "adaptive", one_of_temperature_and_top_p=True)),
    (r"claude", CLAUDE_LATEST),
    (r"gemini-(1|2\.0)", Traits(n.ModelMaker.GEMINI, "none")),
    (r"gemini-2\.5-pro", Traits(n.ModelMaker.GEMINI, "budget", pro=True)),
    (r"gemini-2\.5", Traits(n.ModelMaker.GEMINI, "budget")),
    (r"gemini-.*pro", Traits(n.ModelMaker.GEMINI, "level", _PENALTIES, pro=True, signatures=True)),
    (r"gemini", Traits(n.ModelMaker.GEMINI, "level", _PENALTIES, signatures=True)),
    (r"gpt-(3|4)|chatgpt-4", Traits(n.ModelMaker.OPENAI, "none")),
    (r"gpt-\d+.*-chat", Traits(n.ModelMaker.OPENAI, "none", _SAMPLING - {"top_k"})),
    (r"gpt-5(?![.\d])", replace(_OPENAI_REASONING, least_effort="minimal")),
    (r"o\d", replace(_OPENAI_REASONING, least_effort="low")),
    (r"gpt-\d", _OPENAI_REASONING),
    (r"nova", Traits(n.ModelMaker.OTHER, "nova")),
)  # fmt: skip
_COMPILED = tuple((re.compile(rf"(^|[./])({pattern})"), traits) for pattern, traits in _FAMILIES)


def traits_of(model: str, usual: Traits) -> Traits:
    """Return what a model accepts: `usual` if its name belongs to no known family."""
    name = model.lower()
    return next((traits for pattern, traits in _COMPILED if pattern.search(name)), usual)
