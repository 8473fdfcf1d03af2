"""The simulator that calls of these tests reach."""

from tests.end_to_end.conftest import simulator

__all__ = ["simulator"]
