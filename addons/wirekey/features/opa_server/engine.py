"""Decides calls by an Open Policy Agent server: its Data API, over persistent connections.

https://www.openpolicyagent.org/docs/rest-api. A response without `result` is undefined and denies. A rule that is not
true leaves no trace in the response, and neither does one that does not exist. A document with `deny` or `allow` shows
that the rule exists: a set is there although it is empty, and so is a `default`. Of any other document, the server's
list of policies says which of the two rules the package has. Without `allow` in the document, a rule `allow` denies.
Without either rule, nothing is decided. If Wirekey may not read the list, write `default allow := false`.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from wirekey.core.egress.http_client import HttpConnection, HttpError, HttpRequest, HttpServer, StaleConnectionError
from wirekey.core.egress.upstream_proxy import no_proxy_for
from wirekey.core.policy.decision import Decision, UndecidedError, parse_decision, undecided
from wirekey.core.policy.input import encode_input
from wirekey.core.policy.rego import check_query
from wirekey.core.policy.samples import SAMPLES
from wirekey.core.tracebacks import safe_traceback

if TYPE_CHECKING:
    from wirekey.core.egress.http_client import HttpResponse
    from wirekey.core.egress.upstream_proxy import ProxyFor
    from wirekey.core.policy.input import Input

logger = logging.getLogger(__name__)

LARGEST_RESPONSE = 1024 * 1024
LARGEST_POLICIES = 32 * 1024 * 1024
KEPT = 16
"""Idle connections to keep."""
RULES_SECONDS = 2.0
"""Seconds to cache whether the package has a rule."""
ATTEMPTS = 2
RULES = frozenset({"deny", "allow"})
"""The rules that decide whether a call is sent."""


class NoRuleError(UndecidedError):
    """The package has no rule that decides."""


class RemoteEngine:
    """Sends calls to an OPA server. `timeout`: seconds for a decision with both attempts. Raises PolicyError.

    Only an `https://` server is reached through a proxy, because a proxy would read what is sent without TLS.
    """

    def __init__(self, url: str, query: str, timeout: float, proxy_for: ProxyFor = no_proxy_for) -> None:
        check_query(query)
        parts = urlsplit(url)
        is_https = parts.scheme == "https"
        context = ssl.create_default_context() if is_https else None
        self._server = HttpServer(parts.hostname or "", parts.port or (443 if is_https else 80), context)
        self._proxy_for = proxy_for if is_https else no_proxy_for
        self._authority = parts.netloc.rpartition("@")[2]
        prefix = parts.path.rstrip("/")
        self._decision_path = f"{prefix}/v1/{query.replace('.', '/')}?provenance=true"
        self._policies_path = f"{prefix}/v1/policies"
        self._query, self._timeout = query, timeout
        self._idle: list[HttpConnection] = []
        self._rules: tuple[float, frozenset[str]] | None = None
        """When the list of policies was read, and which of the rules that decide the package has."""

    @property
    def rejected(self) -> None:
        """None: the server does not report policies that it does not load."""

    def reads(self, *fields: str) -> bool:
        """Return True: the server does not say what its policy reads."""
        return True

    def decide_at_once(self, given: Input) -> Decision | None:
        """Return None: the server makes every decision."""

    async def decide(self, given: Input) -> Decision:
        """Return the decision on one call. Never raises: an error denies the call."""
        revision = None
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._exchange("POST", self._decision_path, b'{"input":' + encode_input(given) + b"}")
                revision = revision_of(answer)
                document = self._document_of(answer)
                needs_allow = "allow" in await self._rules_of(document)
                decision = parse_decision(document, revision, needs_allow=needs_allow)
        except UndecidedError as error:
            decision = undecided(f"OPA at {self._authority}: {error}", revision)
        except TimeoutError:
            decision = undecided(f"OPA at {self._authority} took longer than {self._timeout:.3g} s (policy.timeout).")
        except Exception as error:
            decision = undecided(f"OPA at {self._authority}: {safe_traceback(error)}")
        if decision.failure:
            logger.error("Call %s: no decision: %s", given.get("id"), decision.failure)
        return decision

    async def unavailable_reason(self) -> str | None:
        """Return why no call can be decided now, or None. Sends a sample call."""
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._exchange("POST", self._decision_path, b'{"input":' + SAMPLES[0] + b"}")
                await self._rules_of(self._document_of(answer))
        except NoRuleError:
            return "the OPA server has no rule that decides calls"
        except Exception as error:
            logger.debug("OPA at %s failed on a sample call: %s", self._authority, safe_traceback(error))
            return "the OPA server cannot decide calls"
        return None

    def _document_of(self, answer: dict[str, Any]) -> Any:
        if "result" not in answer:
            raise UndecidedError(f"{self._query} is undefined.")
        return answer["result"]

    async def refresh(self) -> None:
        """Do nothing: the server loads its policies itself."""

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    async def _rules_of(self, document: Any) -> frozenset[str]:
        """Return which of the rules `deny` and `allow` exist, as far as the decision depends on it.

        Raises UndecidedError, and NoRuleError if neither exists.
        """
        if not isinstance(document, dict) or "allow" in document:
            return RULES  # `allow` decides, or the document is refused
        shown = RULES.intersection(document)
        existing = shown | await self._existing_rules()
        if not existing:
            raise NoRuleError(f"{self._query} has no rule deny or allow.")
        return existing

    async def _existing_rules(self) -> frozenset[str]:
        now = time.monotonic()
        if self._rules is None or now - self._rules[0] > RULES_SECONDS:
            answer = await self._exchange("GET", self._policies_path, b"", LARGEST_POLICIES)
            self._rules = now, existing_rules(answer, self._query)
        return self._rules[1]

    async def _exchange(self, method: str, path: str, body: bytes, largest: int = LARGEST_RESPONSE) -> dict[str, Any]:
        """Return the JSON object of the response. Raises UndecidedError after two attempts."""
        headers = [("host", self._authority), ("accept", "application/json"), ("content-length", str(len(body)))]
        if body:
            headers.append(("content-type", "application/json"))
        request = HttpRequest(method, path, tuple(headers), largest, body)
        attempt = 1
        while True:
            kept = self._idle.pop() if self._idle else None
            try:
                return object_of(await self._attempt(kept, request))
            except StaleConnectionError as error:
                if kept is not None:
                    continue  # an idle connection that the server closed is not a failed attempt
                reason = str(error)
            except (UndecidedError, HttpError) as error:
                reason = str(error)
            attempt += 1
            if attempt > ATTEMPTS:
                raise UndecidedError(reason)

    async def _attempt(self, kept: HttpConnection | None, request: HttpRequest) -> HttpResponse:
        connection = kept or await self._connect()
        try:
            return await connection.exchange(request)
        finally:
            if connection.is_reusable and len(self._idle) < KEPT:
                self._idle.append(connection)
            else:
                connection.close()

    async def _connect(self) -> HttpConnection:
        proxy = self._proxy_for(self._server.host, self._server.port)
        return await HttpConnection.open(replace(self._server, proxy=proxy) if proxy else self._server)


def object_of(response: HttpResponse) -> dict[str, Any]:
    """Return the JSON object of a successful response. Raises UndecidedError."""
    if response.status != 200:
        raise UndecidedError(f"it responds with status {response.status}")
    media = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json":
        raise UndecidedError(f"it responds with {media or 'no content type'!r}, not with JSON")
    return json_object(response.body)


def json_object(content: bytes) -> dict[str, Any]:
    """Return a JSON object. Raises UndecidedError if the content is something else."""
    try:
        answer = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UndecidedError("its response is not JSON") from None
    if not isinstance(answer, dict):
        raise UndecidedError("its response is not a JSON object")
    return answer


def revision_of(answer: dict[str, Any]) -> str:
    """Return the revision of what decided: of the server's bundles, if it has any."""
    provenance = answer.get("provenance")
    bundles = provenance.get("bundles") if isinstance(provenance, dict) else None
    if not isinstance(bundles, dict):
        return "opa"
    named = (f"{name}@{bundle.get('revision')}" for name, bundle in sorted(bundles.items()) if isinstance(bundle, dict))
    return f"opa {' '.join(named)}".strip()


def existing_rules(answer: dict[str, Any], query: str) -> frozenset[str]:
    """Return which of `RULES` a package has, by the server's list of policies. Raises UndecidedError."""
    package = query.split(".")
    try:
        paths = [
            [*(term["value"] for term in module["package"]["path"]), *rule_path(rule["head"])]
            for module in (policy["ast"] for policy in answer["result"])
            for rule in module.get("rules") or ()
        ]
    except (KeyError, TypeError, AttributeError):
        raise UndecidedError("its list of policies cannot be read. Write `default allow := false`") from None
    return RULES.intersection(path[len(package)] for path in paths if path[:-1][: len(package)] == package)


def rule_path(head: dict[str, Any]) -> list[Any]:
    """Return the path of a rule below its module's package: `["authz", "deny"]` for the rule `authz.deny`."""
    ref = head.get("ref") or ()
    return [term["value"] for term in ref] if ref else [head["name"]]
