"""Requests in OpenAI's format, as Mistral wants them.

Mistral refuses each member that it does not know. Some have another name there, and some change nothing in the
response. The others stay, so that Mistral's error names them. See https://docs.mistral.ai/api/endpoint/chat
"""

from __future__ import annotations

import base64
import hashlib
import re
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from wirekey.core.metering.long_strings import outline
from wirekey.providers.json_edits import EditableBody

if TYPE_CHECKING:
    from wirekey.core.body import RequestBody
    from wirekey.core.operation import Operation
    from wirekey.providers.json_edits import EditableObject

RECEIVED = MappingProxyType({"chat.completions": b"/v1/chat/completions", "embeddings": b"/v1/embeddings"})
"""Operations of OpenAI's format that Mistral answers in the same one → their path."""
RENAMED = MappingProxyType(
    {
        "chat.completions": {"max_completion_tokens": "max_tokens", "seed": "random_seed"},
        "embeddings": {"dimensions": "output_dimension"},
    }
)
"""Operation → its members that have another name at Mistral."""
WITHOUT_EFFECT = ("stream_options", "store", "user", "safety_identifier", "prompt_cache_retention", "logit_bias")
"""Members that change nothing in the response, or, as `logit_bias`, only if they are filled."""
OF_RESPONSES = ("refusal", "annotations", "audio", "function_call")
"""Members of OpenAI's responses that programs send back. They are removed if they say nothing."""
NOTHING = (b"null", b"[]", b"{}")
NOT_PLAIN = (b'"developer"', b'"tool_call', *(f'"{name}"'.encode() for name in OF_RESPONSES))
PLAIN_ID = re.compile(r"[A-Za-z0-9]{9}")
"""An id of a tool call as Mistral's models make them."""


def received(operation: Operation, body: RequestBody, model: str) -> tuple[bytes, RequestBody]:
    """Return target and body of a request in OpenAI's format. Raises Refusal(400) if a message is no object."""
    editable = EditableBody(body)
    root = editable.root
    for name, own in RENAMED[operation.name].items():
        rename(root, name, own)
    for name in WITHOUT_EFFECT:
        if name in root.members.values and (name != "logit_bias" or bytes(root.members.values[name]) in NOTHING):
            root.remove(name)
    root.set({"model": msgspec.json.encode(model)})
    if operation.name == "chat.completions" and any(name in outline(editable.data) for name in NOT_PLAIN):
        for message in root.items("messages"):
            change_message(message)
    return RECEIVED[operation.name], editable.written()


def rename(parent: EditableObject, name: str, own: str) -> None:
    """Rename a member, unless its other name is there, too: that counts then."""
    if name not in parent.members.values:
        return
    value = bytes(parent.members.values[name])
    parent.remove(name)
    if own not in parent.members.values and value != b"null":
        parent.set({own: value})


def change_message(message: EditableObject) -> None:
    """Change role, ids and empty members of a message to what Mistral reads."""
    if message.members.text("role") == "developer":
        message.set({"role": b'"system"'})
    for name in OF_RESPONSES:
        if name in message.members.values and bytes(message.members.values[name]) in NOTHING:
            message.remove(name)
    set_plain_id(message, "tool_call_id")
    if message.members.starts("tool_calls", b"["):
        for call in message.items("tool_calls"):
            set_plain_id(call, "id")


def set_plain_id(parent: EditableObject, name: str) -> None:
    """Replace an id of another provider with one of Mistral's form. The same id always becomes the same."""
    written = parent.members.text(name)
    if written and not PLAIN_ID.fullmatch(written):
        digest = base64.b32encode(hashlib.sha256(written.encode()).digest()).decode()
        parent.set({name: msgspec.json.encode(digest[:9])})
