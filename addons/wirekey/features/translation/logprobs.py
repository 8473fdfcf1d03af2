"""Log probabilities of the tokens of a response, in the shapes of OpenAI and Google.

Sources: https://platform.openai.com/docs/api-reference/chat/object, .../responses/object, and
https://ai.google.dev/api/generate-content#LogprobsResult.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from wirekey.features.translation import neutral as n

if TYPE_CHECKING:
    from collections.abc import Iterable

type Json = dict[str, object]


def read_openai(found: object) -> tuple[n.TokenLogprob, ...]:
    """Return the tokens of a list in either of OpenAI's formats. Another value has no tokens."""
    return tuple(
        n.TokenLogprob(one["token"], one["logprob"], read_openai(one.get("top_logprobs")))
        for one in (found if isinstance(found, list) else ())
        if is_token(one, "logprob")
    )


def read_google(result: dict[str, Any] | None) -> tuple[n.TokenLogprob, ...]:
    """Return the tokens of `logprobsResult`."""
    if result is None:
        return ()
    chosen, top = result.get("chosenCandidates"), result.get("topCandidates")
    rows = zip_longest(chosen if isinstance(chosen, list) else (), top if isinstance(top, list) else ())
    return tuple(
        n.TokenLogprob(one["token"], one["logProbability"], candidates(others))
        for one, others in rows
        if is_token(one, "logProbability")
    )


def candidates(others: object) -> tuple[n.TokenLogprob, ...]:
    """Return the likeliest tokens of one place."""
    listed = others.get("candidates") if isinstance(others, dict) else None
    return tuple(
        n.TokenLogprob(one["token"], one["logProbability"])
        for one in (listed if isinstance(listed, list) else ())
        if is_token(one, "logProbability")
    )


def is_token(value: object, name: str) -> bool:
    """Return whether a value is an object with a token and its log probability, by the name of that member."""
    return isinstance(value, dict) and isinstance(value.get("token"), str) and isinstance(value.get(name), int | float)


def write_openai(tokens: Iterable[n.TokenLogprob]) -> list[Json]:
    """Return tokens in the shape that both of OpenAI's formats have."""
    return [{**_token(one), "top_logprobs": [_token(other) for other in one.top]} for one in tokens]


def write_event(tokens: Iterable[n.TokenLogprob]) -> list[Json]:
    """Return tokens in the shape that events of Responses have: without bytes."""
    return [{**_bare(one), "top_logprobs": [_bare(other) for other in one.top]} for one in tokens]


def _token(one: n.TokenLogprob) -> Json:
    return {**_bare(one), "bytes": list(one.token.encode("utf-8", "replace"))}


def _bare(one: n.TokenLogprob) -> Json:
    return {"token": one.token, "logprob": one.logprob}


def write_chat(tokens: tuple[n.TokenLogprob, ...]) -> Json | None:
    """Return the member `logprobs` of a choice of Chat Completions."""
    return {"content": write_openai(tokens), "refusal": None} if tokens else None


def write_google(tokens: tuple[n.TokenLogprob, ...]) -> Json:
    """Return the members of a candidate for its log probabilities: none without tokens."""
    if not tokens:
        return {}
    found: Json = {"chosenCandidates": [_candidate(one) for one in tokens]}
    if any(one.top for one in tokens):
        found["topCandidates"] = [{"candidates": [_candidate(other) for other in one.top]} for one in tokens]
    return {"logprobsResult": found}


def _candidate(one: n.TokenLogprob) -> Json:
    return {"token": one.token, "logProbability": one.logprob}
