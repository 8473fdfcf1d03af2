"""Finding the project that an account's calls belong to, or making one. Pure: no I/O, no clock.

`ProjectLookup` returns the request to send next, and reads its response. This continues until the project is found or
`ProjectError` is raised:

    load ─▶ a project: done
      │ ─▶ a tier without one: the configured project, else an error
      └─▶ no tier: onboard ─▶ an operation: poll until it is done
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import msgspec

from wirekey.core.errors import UserError
from wirekey.features.google_accounts.code_assist.errors import read_error
from wirekey.features.google_accounts.code_assist.protocol import (
    FREE_TIER,
    LEGACY_TIER,
    LOAD,
    METADATA,
    ONBOARD,
    PREFIX,
    VALIDATION_REQUIRED,
)

POLL_FIRST, POLL_MOST = 2.0, 5.0
POLL_FOR = 120.0
"""Seconds between two questions for an operation, and for all of them."""

_OPERATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,255}")
_PROJECT = re.compile(r"[a-z0-9][a-z0-9.:-]{0,127}")
_document = msgspec.json.Decoder()


class ProjectError(UserError):
    """Why an account has no project, as a sentence for the operator, without a secret.

    `invalid`: Google does not serve this account until its owner has done something; `url` is where.
    """

    def __init__(
        self, message: str, *, invalid: bool = False, url: str | None = None, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.invalid = invalid
        self.url = url
        self.status = status


@dataclass(frozen=True, slots=True)
class LookupRequest:
    """A request to send after `wait` seconds. `target` is path and query; `body` is JSON, b"" for a GET."""

    method: str
    target: str
    body: bytes = field(default=b"", repr=False)
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class FoundProject:
    """The end of a lookup. `project` None: calls of the account name no project. `tier`: its id at Google."""

    project: str | None
    tier: str | None = None


class ProjectLookup:
    """One lookup. `project`: the one that is configured, or None. `free`: the account is used by its free tier."""

    def __init__(self, project: str | None = None, *, free: bool = False) -> None:
        self.project = project
        self.free = free
        self._waited = 0.0
        self._wait = POLL_FIRST
        self._tier: str | None = None
        self._receive = self._loaded

    def start(self) -> LookupRequest:
        """Return the first request."""
        named = None if self.free else self.project
        body: dict[str, Any] = {"metadata": dict(METADATA)}
        if named:
            body["cloudaicompanionProject"] = named
            body["metadata"]["duetProject"] = named
        return LookupRequest("POST", LOAD, msgspec.json.encode(body))

    def receive(self, status: int, body: bytes) -> LookupRequest | FoundProject:
        """Return what comes after a response. Raises ProjectError."""
        if status != 200:
            raise _refused(status, body)
        try:
            found = _document.decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            found = None
        if not isinstance(found, dict):
            raise ProjectError("Code Assist sends something other than a JSON object when asked for the project.")
        return self._receive(found)

    def _loaded(self, found: dict[str, Any]) -> LookupRequest | FoundProject:
        tier = found.get("currentTier")
        if named := _project_of(found.get("cloudaicompanionProject")):
            return FoundProject(self.project or named, _id_of(tier))
        ineligible = [each for each in _list(found.get("ineligibleTiers")) if isinstance(each, dict)]
        if isinstance(tier, dict):
            if self.project:
                return FoundProject(self.project, _id_of(tier))
            raise (
                _ineligible(ineligible)
                if ineligible
                else ProjectError(
                    "Google has no project for this account. Set project_id to a Google Cloud project of its owner."
                )
            )
        for each in ineligible:
            if each.get("reasonCode") == VALIDATION_REQUIRED:
                raise _ineligible([each])
        return self._onboard(found, ineligible)

    def _onboard(self, found: dict[str, Any], ineligible: list[dict[str, Any]]) -> LookupRequest:
        allowed = [each for each in _list(found.get("allowedTiers")) if isinstance(each, dict)]
        if not allowed and ineligible:
            raise _ineligible(ineligible)
        chosen = next((each for each in allowed if each.get("isDefault") is True), {"id": LEGACY_TIER})
        self._tier = FREE_TIER if self.free else _id_of(chosen) or LEGACY_TIER
        body: dict[str, Any] = {"tierId": self._tier, "metadata": dict(METADATA)}
        if self._tier != FREE_TIER:
            # With a project, Google refuses to onboard to the free tier: FAILED_PRECONDITION.
            if self.project is None and chosen.get("userDefinedCloudaicompanionProject") is True:
                raise ProjectError(
                    "This account needs a Google Cloud project. Set project_id to a project of its owner."
                )
            if self.project:
                body["cloudaicompanionProject"] = self.project
                body["metadata"]["duetProject"] = self.project
        self._receive = self._onboarded
        return LookupRequest("POST", ONBOARD, msgspec.json.encode(body))

    def _onboarded(self, found: dict[str, Any]) -> LookupRequest | FoundProject:
        """Read a long-running operation: https://google.aip.dev/151."""
        if found.get("done") is True:
            if isinstance(failure := found.get("error"), dict):
                message = failure.get("message")
                raise ProjectError(f"Google could not make a project for this account: {_sentence(message)}")
            response = found.get("response")
            made = _project_of(response.get("cloudaicompanionProject")) if isinstance(response, dict) else None
            named = made or (None if self.free else self.project)
            if named is None and self._tier != FREE_TIER:
                raise ProjectError("Google made no project for this account. Set project_id to a project of its owner.")
            return FoundProject(named, self._tier)
        name = found.get("name")
        if not isinstance(name, str) or not _OPERATION.fullmatch(name) or ".." in name:
            raise ProjectError("Google does not name the operation that makes a project for this account.")
        if self._waited >= POLL_FOR:
            raise ProjectError(f"Google did not finish making a project for this account within {POLL_FOR:g} s.")
        wait = min(self._wait, POLL_FOR - self._waited)
        self._waited += wait
        self._wait = min(POLL_MOST, self._wait + 1.0)
        return LookupRequest("GET", f"{PREFIX}/{name}", wait=wait)


def _refused(status: int, body: bytes) -> ProjectError:
    error = read_error(status, body)
    if error.reason == VALIDATION_REQUIRED:
        metadata = error.detail("ErrorInfo").get("metadata")
        url = metadata.get("validation_url") or metadata.get("validationUrl") if isinstance(metadata, dict) else None
        return ProjectError(_sentence(error.message), invalid=True, url=_url(url), status=status)
    return ProjectError(
        f"Code Assist responds with status {status} when asked for the project. {_sentence(error.message)}".strip(),
        status=status,
    )


def _ineligible(tiers: list[dict[str, Any]]) -> ProjectError:
    reasons = " ".join(_sentence(each.get("reasonMessage")) for each in tiers)
    invalid = next((each for each in tiers if each.get("reasonCode") == VALIDATION_REQUIRED), None)
    message = reasons.strip() or "Google does not offer Code Assist to this account."
    return ProjectError(message, invalid=invalid is not None, url=_url((invalid or {}).get("validationUrl")))


def _project_of(value: object) -> str | None:
    """Return a project's id: `cloudaicompanionProject` is a text, or an object with `id`."""
    named = value.get("id") if isinstance(value, dict) else value
    return named if isinstance(named, str) and _PROJECT.fullmatch(named) else None


def _id_of(tier: object) -> str | None:
    named = tier.get("id") if isinstance(tier, dict) else None
    return named if isinstance(named, str) else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _sentence(value: object) -> str:
    """Return a sentence of Google's in one line of limited length."""
    return " ".join(value.split())[:300] if isinstance(value, str) else ""


def _url(value: object) -> str | None:
    return value if isinstance(value, str) and value.startswith("https://") and len(value) < 1000 else None
