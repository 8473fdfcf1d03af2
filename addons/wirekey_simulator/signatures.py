"""Signatures of reasoning, as opaque to a client as those of the providers, and checked as theirs are.

A signature belongs to a maker and to what it was made for. One that was made up, edited, moved to another block, or
issued by another maker is recognised.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode

import msgspec

encode = msgspec.json.Encoder(order="sorted").encode
"""Programs may send the members of a call back in another order."""


def signature(maker: str, content: object) -> str:
    """Return the signature of a maker (`claude`, `gemini`, `openai`) for some JSON."""
    digest = hashlib.sha256(maker.encode() + b"\0" + encode(content)).digest()
    return b64encode(maker.encode() + b":" + digest[:24]).decode()
