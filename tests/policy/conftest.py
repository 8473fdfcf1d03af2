from tests.rego.conftest import oracle

__all__ = ["oracle"]
