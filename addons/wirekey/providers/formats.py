"""The wire formats that Wirekey knows, by name and by operation. A further one is a value in a provider's folder."""

from __future__ import annotations

from types import MappingProxyType

from wirekey.providers.anthropic.formats import MESSAGES
from wirekey.providers.bedrock.formats import CONVERSE, INVOKE
from wirekey.providers.gemini.formats import GEMINI_VECTORS, GENERATE_CONTENT
from wirekey.providers.openai.formats import CHAT, OPENAI_VECTORS, RESPONSES

_ALL = (CHAT, RESPONSES, GENERATE_CONTENT, MESSAGES, CONVERSE, INVOKE)
FORMATS = MappingProxyType({form.name: form for form in _ALL})
"""The formats, by name."""

CONVERSATIONS = MappingProxyType({operation: form.name for form in _ALL for operation in form.conversations})
"""Operation → its format, for operations that continue a conversation."""

COUNTS = MappingProxyType({operation: form.name for form in _ALL for operation in form.counts})
"""Operation → its format, for operations that count the tokens of a conversation."""

EMBEDDINGS = MappingProxyType(
    {name: form.name for form in (OPENAI_VECTORS, GEMINI_VECTORS) for name in form.operations}
)
"""Operation → its format, for operations that make vectors of text."""

HTTP_INSTEAD = MappingProxyType({operation: form.name for form in _ALL for operation in form.connections})
"""Operation → the format of its messages, for connections whose programs can send the same requests by HTTP."""

FORMAT_OF = MappingProxyType(
    {**CONVERSATIONS, **COUNTS, **HTTP_INSTEAD, **{name: form.name for form in _ALL for name in form.others}}
)
"""Operation → its format."""

TRANSLATED = MappingProxyType({**CONVERSATIONS, **COUNTS, **EMBEDDINGS})
"""Operation → its format, for all operations that can be translated."""
