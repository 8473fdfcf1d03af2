"""Reads whole responses of OpenAI's Responses."""

from __future__ import annotations

from typing import Any

import msgspec

from wirekey.features.translation import neutral as n
from wirekey.features.translation.citations import openai_citations
from wirekey.features.translation.failures import failure_of_event
from wirekey.features.translation.logprobs import read_openai

_INCOMPLETE = {"max_output_tokens": n.Finish.LIMIT, "content_filter": n.Finish.FILTERED}


def read_usage(usage: object) -> n.TokenUsage:
    """Return the tokens of a `usage` member."""
    return n.TokenUsage(
        n.token_count(usage, "input_tokens"),
        n.token_count(usage, "input_tokens_details", "cached_tokens"),
        n.token_count(usage, "input_tokens_details", "cache_write_tokens"),
        n.token_count(usage, "output_tokens"),
        n.token_count(usage, "output_tokens_details", "reasoning_tokens"),
    )


def read_response(data: bytes) -> n.Answer | n.ProviderError:
    """Return a whole response in the neutral form, or the error that it holds. Raises msgspec.DecodeError."""
    body = msgspec.json.decode(data, type=dict[str, Any])
    if body.get("status") == "failed":
        return failure_of_event("openai.responses", body.get("error") or {})
    blocks: list[Any] = []
    refused = False
    for item in body.get("output") or []:
        found, refusal = _item(item)
        blocks += found
        refused = refused or refusal
    finish = finish_of(body, calls=any(isinstance(block, n.ToolCall) for block in blocks), refused=refused)
    return n.Answer(body.get("id"), body.get("model"), tuple(blocks), finish, read_usage(body.get("usage")))


def finish_of(body: dict[str, Any], *, calls: bool, refused: bool) -> n.Finish:
    """Return why a response ended. `calls` and `refused` say what it holds."""
    if body.get("status") == "incomplete":
        reason = (body.get("incomplete_details") or {}).get("reason") or ""
        return _INCOMPLETE.get(reason, n.Finish.OTHER)
    if refused:
        return n.Finish.FILTERED
    return n.Finish.CALLS if calls else n.Finish.END


def _item(item: dict[str, Any]) -> tuple[list[Any], bool]:
    match item.get("type"):
        case "message":
            blocks, refused = [], False
            for part in item.get("content") or []:
                if part.get("type") == "refusal":
                    refused = True
                    blocks.append(n.Text(part.get("refusal") or ""))
                elif part.get("type") == "output_text":
                    cited, tokens = openai_citations(part.get("annotations")), read_openai(part.get("logprobs"))
                    blocks.append(n.Text(part.get("text") or "", annotations=cited, logprobs=tokens))
            return blocks, refused
        case "function_call":
            return [n.ToolCall(item.get("call_id") or "", item.get("name") or "", item.get("arguments") or "")], False
        case "reasoning":
            return [read_reasoning(item)], False
    return [], False


def summary_of(item: dict[str, Any]) -> str:
    """Return the text of an item of reasoning."""
    return "\n\n".join(part.get("text") or "" for part in item.get("summary") or [])


def read_reasoning(item: dict[str, Any]) -> n.Reasoning:
    """Return an item of reasoning, with its state."""
    return n.Reasoning(
        summary_of(item) or None, item.get("encrypted_content"), n.ModelMaker.OPENAI, item=item.get("id")
    )
