"""Settings that are checked but not implemented in this version. `config check` reports each that is set."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wirekey.config.models import Config
    from wirekey.config.problems import Problem

UNIMPLEMENTED = (
    (r"audit\.store", "audit.store", "is not used yet. Calls are recorded in audit.db in the state folder"),
)
"""(pattern of the setting, its name in the reference, the message)"""


def unimplemented(config: Config) -> list[Problem]:
    """Return a problem for each setting in the file that this version does not implement."""
    sources = config._sources  # noqa: SLF001  # of the same package
    found = []
    for key in sources.lines:
        for pattern, _, message in UNIMPLEMENTED:
            if re.fullmatch(pattern, key) and is_changed(config, key):
                found.append(sources.problem(key, message))
    return found


def is_changed(config: Config, key: str) -> bool:
    """Return whether a setting in the file differs from its default."""
    value: object = config
    group: object = config
    for part in re.sub(r"\[(\d+)\]", r".\1", key).split("."):
        group, value = value, value[int(part)] if isinstance(value, tuple) else getattr(value, part)
    if key == "audit.store":
        return value not in (None, f"sqlite:///{config.state / 'audit.db'}")
    field = getattr(type(group), "model_fields", {}).get(key.rpartition(".")[2])
    return bool(value) and (field is None or value != field.default)
