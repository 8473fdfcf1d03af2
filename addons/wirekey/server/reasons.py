"""Errors whose text says what was wrong, where, and what to do."""

from __future__ import annotations

from wirekey.audit.schema import AuditFileError
from wirekey.ca.authority import CAError
from wirekey.config import ConfigError
from wirekey.identity.agents import AgentsFileError
from wirekey.identity.jwt_issuers import IssuerError
from wirekey.identity.jwt_keys import SigningKeysError
from wirekey.policy.modules import PolicyError
from wirekey.server.gateway_certificate import CertificateError
from wirekey.server.state_folder import StateFolderError
from wirekey.server.state_lock import StateInUseError

SENTENCES = (
    AgentsFileError,
    AuditFileError,
    CAError,
    CertificateError,
    ConfigError,
    IssuerError,
    PolicyError,
    SigningKeysError,
    StateFolderError,
    StateInUseError,
)


def reason(error: Exception) -> str | None:
    """Say to a person why something could not be opened or used; None: it is a fault of ours."""
    if isinstance(error, SENTENCES):
        return str(error)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}"
    return None
