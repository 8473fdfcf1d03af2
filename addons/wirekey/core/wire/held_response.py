"""The hook at the end of a large response whose head waits for its whole body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mitmproxy.proxy.commands import StartHook

if TYPE_CHECKING:
    from mitmproxy import http


@dataclass
class HeldResponseHook(StartHook):
    """All of a large response was received. An addon that needs long for its end does it here, in a thread."""

    flow: http.HTTPFlow
