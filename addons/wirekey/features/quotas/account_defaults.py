"""Keeps the default tiers of service, and default places, of the accounts of keys.

A project of OpenAI may have a dearer tier as its default, and a workspace of Anthropic a dearer place. Only responses
show it. Until every key of a pool has shown it, the dearest default counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.metering.modifiers import is_left_open, spelled
from wirekey.core.metering.price_table import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.core.calls.state import CallState
    from wirekey.core.credentials.pool import KeyPool
    from wirekey.core.operation import Facts, Usage

MOST_DEFAULTS = 8
"""Values that are kept for each key and modifier. Responses name them."""


def note_defaults(state: CallState, usage: Usage, asked: Facts | None) -> None:
    """Note what a response shows of its account: how it served a request that left a modifier open."""
    key = state.attempt.key if state.attempt and state.attempt.pool else None
    if key is None:
        return
    for name, value in usage.modifiers:
        if is_left_open(name, asked.modifiers if asked else ()):
            seen = key.defaults.setdefault(name, set())
            if len(seen) < MOST_DEFAULTS:
                seen.add(spelled(name, value))


def known_defaults(pool: KeyPool | None) -> Mapping[str, set[str]]:
    """Return modifier → what the accounts of a pool's keys were seen to give. Without those that one has not shown."""
    if pool is None or not pool.keys:
        return {}
    names = {name for _, name in DEFAULTS if all(name in key.defaults for key in pool.keys)}
    return {name: set().union(*(key.defaults[name] for key in pool.keys)) for name in names}
