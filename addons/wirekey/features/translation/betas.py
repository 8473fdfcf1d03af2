"""The beta flags of Anthropic's API that Bedrock accepts, too.

A program sends them to Anthropic in the header `anthropic-beta`, and to Bedrock in the body, as `anthropic_beta`.
Bedrock refuses a request with a flag that it does not know. Source:
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages-request-response.html.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wirekey.features.translation.context import Context

_ACCEPTED = re.compile(
    r"context-1m-2025-08-07|interleaved-thinking-2025-05-14|fine-grained-tool-streaming-2025-05-14"
    r"|token-efficient-tools-2025-02-19|computer-use-[0-9-]+"
)


def flags_of(headers: Iterable[str]) -> tuple[str, ...]:
    """Return the flags in the values of the header, which is a list with commas."""
    flags = (flag.strip() for value in headers for flag in value.split(","))
    return tuple(flag for flag in flags if flag)


def fit_betas(context: Context, in_body: Iterable[str], in_header: Iterable[str] = ()) -> None:
    """Keep the flags that the upstream accepts in the context. Flags of a Claude at Bedrock that it lacks are dropped.

    Elsewhere a header of the client does not pass, as no other header does, and the flags of a body are dropped.
    """
    at_bedrock = context.traits.issuer in context.upstream.beta_makers
    flags = dict.fromkeys((*in_body, *in_header) if at_bedrock else in_body)
    context.betas = [flag for flag in flags if at_bedrock and _ACCEPTED.fullmatch(flag)]
    if len(context.betas) < len(flags):
        context.drop("betas")
