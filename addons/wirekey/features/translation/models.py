"""The traits of families of models, by patterns of names. A new model counts as the newest of its family."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from wirekey.features.translation.neutral import ModelMaker


@dataclass(frozen=True, slots=True)
class Traits:
    """The requests that a family of models accepts.

    `thinking` is how its reasoning is set: `effort` (a word), `level` (Gemini 3), `budget` (tokens), `adaptive` (Claude
    by effort), `nova`, or `none`. `unsupported` has the neutral names of options that are left out.
    """

    issuer: ModelMaker
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

CLAUDE_LATEST = Traits(ModelMaker.CLAUDE, "adaptive", _SAMPLING)
_OPENAI_REASONING = Traits(
    ModelMaker.OPENAI, "effort", frozenset({"temperature", "top_p"}) | _PENALTIES, frozenset({"logprobs", "stop"})
)
_FAMILIES: tuple[tuple[str, Traits], ...] = (
    # Sources: platform.claude.com (extended thinking, effort, structured outputs), ai.google.dev (thinking, thought
    # signatures), platform.openai.com (reasoning), docs.aws.amazon.com (Nova).
    (r"claude-(instant|v?[12]|3-[0-5]|3-(opus|sonnet|haiku))", Traits(ModelMaker.CLAUDE, "none", output_format=False)),
    (r"claude-(3-7|(opus|sonnet|haiku)-4-(0|2\d{7}))|claude-(opus|sonnet)-4(?!-\d)",
     Traits(ModelMaker.CLAUDE, "budget", output_format=False)),
    (r"claude-opus-4-1", Traits(ModelMaker.CLAUDE, "budget", one_of_temperature_and_top_p=True, output_format=False)),
    (r"claude-(opus|sonnet|haiku)-4-5", Traits(ModelMaker.CLAUDE, "budget", one_of_temperature_and_top_p=True)),
    (r"claude-(opus|sonnet|haiku)-4-6", Traits(ModelMaker.CLAUDE, "adaptive", one_of_temperature_and_top_p=True)),
    (r"claude", CLAUDE_LATEST),
    (r"gemini-(1|2\.0)", Traits(ModelMaker.GEMINI, "none")),
    (r"gemini-2\.5-pro", Traits(ModelMaker.GEMINI, "budget", pro=True)),
    (r"gemini-2\.5", Traits(ModelMaker.GEMINI, "budget")),
    (r"gemini-.*pro", Traits(ModelMaker.GEMINI, "level", _PENALTIES, pro=True, signatures=True)),
    (r"gemini", Traits(ModelMaker.GEMINI, "level", _PENALTIES, signatures=True)),
    (r"gpt-(3|4)|chatgpt-4", Traits(ModelMaker.OPENAI, "none")),
    (r"gpt-\d+.*-chat", Traits(ModelMaker.OPENAI, "none", _SAMPLING - {"top_k"})),
    (r"gpt-5(?![.\d])", replace(_OPENAI_REASONING, least_effort="minimal")),
    (r"o\d", replace(_OPENAI_REASONING, least_effort="low")),
    (r"gpt-\d", _OPENAI_REASONING),
    (r"nova", Traits(ModelMaker.OTHER, "nova")),
)  # fmt: skip
_COMPILED = tuple((re.compile(rf"(^|[./])({pattern})"), traits) for pattern, traits in _FAMILIES)


def traits_of(model: str, usual: Traits) -> Traits:
    """Return what a model accepts: `usual` if its name belongs to no known family."""
    name = model.lower()
    return next((traits for pattern, traits in _COMPILED if pattern.search(name)), usual)
