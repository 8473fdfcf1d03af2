from __future__ import annotations

from tests.policy.conftest import oracle

__all__ = ["oracle"]
