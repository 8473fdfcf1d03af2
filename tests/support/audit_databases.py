"""An audit log whose writer a test makes itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.core.audit.audit_log import AuditWriter


@dataclass
class WriterOfTest:
    """The audit log in a database. `make` returns its writer."""

    make: Callable[[], AuditWriter]
    place: str = "The audit database"
    bound: float = 5.0
    is_file: bool = False

    def open_writer(self, key, *, alone):
        return self.make()
