from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def fresh(request, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    if "simulator" in request.fixturenames:
        request.getfixturevalue("simulator").forget()
