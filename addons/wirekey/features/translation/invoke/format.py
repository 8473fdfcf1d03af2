"""The format of Bedrock's InvokeModel with a body of Anthropic's Messages: what differs from Messages."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING

from wirekey.features.translation import neutral as n
from wirekey.features.translation.anthropic.format import ANTHROPIC
from wirekey.features.translation.anthropic.read_response import AnthropicEventReader
from wirekey.features.translation.anthropic.write_request import write_members
from wirekey.features.translation.anthropic.write_response import AnthropicEventWriter
from wirekey.features.translation.converse.format import CONVERSE
from wirekey.features.translation.converse.write_response import error_type
from wirekey.features.translation.framing import FrameEvents, frame
from wirekey.features.translation.members import encode
from wirekey.providers.bedrock import formats

if TYPE_CHECKING:
    from wirekey.features.translation.context import Context

type Json = dict[str, object]


def write_request(conversation: n.Conversation, context: Context) -> Json:
    """Return the members of the body, whose model is in the path. Raises Refusal for what Claude cannot be asked."""
    head: Json = {"anthropic_version": "bedrock-2023-05-31"}
    if context.betas:
        head["anthropic_beta"] = context.betas
    return {**head, **write_members(conversation, context)}


class InvokeEventWriter(AnthropicEventWriter):
    """Writes the events of Messages in the frames of InvokeModel."""

    def event(self, name: str, members: Json) -> bytes:
        """Return one event in its frame."""
        return frame("chunk", {"bytes": base64.b64encode(encode({"type": name, **members})).decode()})

    def failure(self, event: n.ProviderError) -> bytes:
        """Return the exception."""
        _, kind = error_type(event)
        return frame(kind[0].lower() + kind[1:], {"message": event.message}, "exception")


INVOKE = replace(
    ANTHROPIC,
    wire=formats.INVOKE,
    options=replace(ANTHROPIC.options, names=ANTHROPIC.options.names - {"service_tier"}),
    beta_makers=frozenset(n.ModelMaker),
    usual_model=CONVERSE.usual_model,
    write_request=write_request,
    counting=CONVERSE.counting,
    event_reader=lambda: AnthropicEventReader(FrameEvents()),
    event_writer=InvokeEventWriter,
    stream_type=CONVERSE.stream_type,
    error=CONVERSE.error,
    error_headers=CONVERSE.error_headers,
)
