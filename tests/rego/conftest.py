import pytest

from tests.rego.oracle import Oracle, oracle_python


@pytest.fixture(scope="session")
def oracle():
    python = oracle_python()
    if python is None:
        pytest.skip("OPA's engine is not installed, so policies cannot be compared with it. Run .ci/run.")
    with Oracle(python) as started:
        yield started
