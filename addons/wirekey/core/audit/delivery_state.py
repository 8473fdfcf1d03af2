"""How far the events of an audit log were delivered elsewhere, and which process delivers them.

The state is beside the audit log, because all processes that write to the log share it. `delivery_file` has it in a
file; a database server has a table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

type DeliveryDocument = Mapping[str, Any]
"""The JSON values that are kept of one receiver."""


class DeliveryState(Protocol):
    """The documents of all receivers, by name, and the claim of the one process that delivers. For several threads."""

    def claim(self) -> int:
        """Return the number of this process's claim to deliver, or 0 if another process has it.

        The claim ends with the process, however that ends. A later claim of the same process has another number:
        another process may have delivered in between. After `close`, the number is 0. Raises AuditDatabaseError.
        """

    def read(self) -> dict[str, DeliveryDocument]:
        """Return the documents, by name. Raises AuditDatabaseError."""

    def write(self, name: str, document: DeliveryDocument) -> None:
        """Replace the document of a name. Raises AuditDatabaseError, also if this process does not have the claim."""

    def close(self) -> None:
        """Leave the claim to others."""
