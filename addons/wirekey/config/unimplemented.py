"""Settings that are understood and checked but that this version does not act on yet: whoever sets one is told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wirekey.config.models import Config
    from wirekey.config.problems import Problem

UNBUILT = ((r"audit\.store", "audit.store", "is not used yet: calls are recorded in audit.db of the state folder"),)
"""(pattern of the setting, how the reference names it, what is so)"""


def unimplemented(config: Config) -> list[Problem]:
    """Give the settings of the file that do not do what they say, in this version."""
    sources = config._sources  # noqa: SLF001  # of the same package
    found = []
    for key in sources.lines:
        for pattern, _, message in UNBUILT:
            if re.fullmatch(pattern, key) and departs(config, key):
                found.append(sources.problem(key, message))
    return found


def departs(config: Config, key: str) -> bool:
    """Tell whether the setting asks for something else than its absence would give."""
    value: object = config
    group: object = config
    for part in re.sub(r"\[(\d+)\]", r".\1", key).split("."):
        group, value = value, value[int(part)] if isinstance(value, tuple) else getattr(value, part)
    if key == "audit.store":
        return value not in (None, f"sqlite:///{config.state / 'audit.db'}")
    field = getattr(type(group), "model_fields", {}).get(key.rpartition(".")[2])
    return bool(value) and (field is None or value != field.default)
