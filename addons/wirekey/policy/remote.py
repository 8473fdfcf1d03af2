"""Decides calls by an Open Policy Agent server: its Data API, over persistent connections.

https://www.openpolicyagent.org/docs/rest-api. A response without `result` is undefined and denies. If the document has
neither `allow` nor a denial, the engine checks whether the package has a rule `allow` at all, because a rule that is
not true leaves no trace in the response. If Wirekey may not read the policies there, write `default allow := false`.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import h11
import msgspec

from wirekey.policy.decision import Decision, UndecidedError, parse_decision, undecided
from wirekey.policy.input import encode_input
from wirekey.policy.modules import PolicyError, PolicyProblem
from wirekey.policy.rego import QUERY
from wirekey.policy.samples import SAMPLES
from wirekey.tracebacks import safe_traceback

if TYPE_CHECKING:
    from wirekey.policy.input import Input

logger = logging.getLogger(__name__)

LARGEST_ANSWER = 1024 * 1024
LARGEST_POLICIES = 32 * 1024 * 1024
KEPT = 16
"""Idle connections to keep."""
RULES_SECONDS = 2.0
"""Seconds to cache whether the package has a rule."""
ATTEMPTS = 2


type OpaRequest = tuple[str, str, str, bytes, int]
"""Method, authority, path, body, and the most bytes of the response."""


class StaleError(Exception):
    """The server closed an idle connection: no part of the response arrived."""


class RemoteEngine:
    """Sends calls to an OPA server. `timeout`: seconds for a decision with both attempts. Raises PolicyError."""

    def __init__(self, url: str, query: str, timeout: float) -> None:
        if not QUERY.fullmatch(query):
            raise PolicyError(
                [PolicyProblem("policy.query", None, None, f"{query!r} is not a package path such as data.a.authz")]
            )
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._secure = parts.scheme == "https"
        self._port = parts.port or (443 if self._secure else 80)
        self._authority = parts.netloc.rpartition("@")[2]
        prefix = parts.path.rstrip("/")
        self._decision_path = f"{prefix}/v1/{query.replace('.', '/')}?provenance=true"
        self._policies_path = f"{prefix}/v1/policies"
        self._query, self._timeout = query, timeout
        self._context = ssl.create_default_context() if self._secure else None
        self._idle: list[OpaConnection] = []
        self._rules: tuple[float, bool] | None = None

    async def decide(self, given: Input) -> Decision:
        """Return the decision on one call. Never raises: an error denies the call."""
        revision = None
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._exchange("POST", self._decision_path, b'{"input":' + encode_input(given) + b"}")
                revision = revision_of(answer)
                document = self._document_of(answer)
                needs_allow = isinstance(document, dict) and "allow" not in document and await self._has_allow()
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
                self._document_of(await self._exchange("POST", self._decision_path, b'{"input":' + SAMPLES[0] + b"}"))
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

    async def _has_allow(self) -> bool:
        now = time.monotonic()
        if self._rules is None or now - self._rules[0] > RULES_SECONDS:
            answer = await self._exchange("GET", self._policies_path, b"", LARGEST_POLICIES)
            self._rules = now, has_rule(answer, self._query, "allow")
        return self._rules[1]

    async def _exchange(self, method: str, path: str, body: bytes, largest: int = LARGEST_ANSWER) -> dict[str, Any]:
        """Return the JSON object of the response. Raises UndecidedError after two attempts."""
        attempt = 1
        while True:
            kept = self._idle.pop() if self._idle else None
            try:
                return await self._attempt(kept, (method, self._authority, path, body, largest))
            except StaleError as error:
                if kept is not None:
                    continue  # an idle connection that the server closed is not a failed attempt
                reason = f"it closed the connection {error}".strip()
            except (UndecidedError, OSError, h11.ProtocolError) as error:
                reason = str(error) or type(error).__name__
            attempt += 1
            if attempt > ATTEMPTS:
                raise UndecidedError(reason)

    async def _attempt(self, kept: OpaConnection | None, request: OpaRequest) -> dict[str, Any]:
        connection = kept or await OpaConnection.open(self._host, self._port, self._context)
        reusable = False
        try:
            answer, reusable = await connection.exchange(*request)
        finally:
            if reusable and len(self._idle) < KEPT:
                self._idle.append(connection)
            else:
                connection.close()
        return answer


class OpaConnection:
    """One HTTP/1.1 connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=64 * 1024)
        self._answered = False

    @classmethod
    async def open(cls, host: str, port: int, context: ssl.SSLContext | None) -> OpaConnection:
        """Connect. Raises OSError."""
        return cls(*await asyncio.open_connection(host, port, ssl=context))

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()

    async def exchange(
        self, method: str, authority: str, path: str, body: bytes, largest: int
    ) -> tuple[dict[str, Any], bool]:
        """Send a request. Return the response's JSON object, and whether the connection can be reused."""
        headers = [("host", authority), ("accept", "application/json"), ("content-length", str(len(body)))]
        if body:
            headers.append(("content-type", "application/json"))
        self._send(h11.Request(method=method, target=path, headers=headers), h11.Data(data=body), h11.EndOfMessage())
        try:
            await self._writer.drain()
            head = await self._next()
        except (ConnectionError, h11.RemoteProtocolError) as error:
            if self._answered:
                raise
            raise StaleError(str(error)) from None
        if not isinstance(head, h11.Response):
            raise StaleError("without a response")
        content = await self._content(largest)
        if head.status_code != 200:
            raise UndecidedError(f"it responded with status {head.status_code}")
        media = dict(head.headers).get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
        if media != "application/json":
            raise UndecidedError(f"it responded with {media or 'no content type'!r}, not with JSON")
        reusable = self._http.our_state is h11.DONE and self._http.their_state is h11.DONE
        if reusable:
            self._http.start_next_cycle()
            self._answered = False
        return json_object(content), reusable

    def _send(self, *events: h11.Event) -> None:
        self._writer.write(b"".join(self._http.send(event) or b"" for event in events))

    async def _content(self, largest: int) -> bytes:
        content = bytearray()
        while isinstance(event := await self._next(), h11.Data):
            content += event.data
            if len(content) > largest:
                raise UndecidedError(f"its response is larger than {largest} bytes")
        if not isinstance(event, h11.EndOfMessage):
            raise UndecidedError("its response ended early")
        return bytes(content)

    async def _next(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            data = await self._reader.read(65536)
            self._answered = self._answered or bool(data)
            self._http.receive_data(data)
        return self._next_final(event)

    def _next_final(self, event: Any) -> Any:
        if isinstance(event, h11.InformationalResponse):
            raise UndecidedError(f"it responded with status {event.status_code}")
        return event


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


def has_rule(answer: dict[str, Any], query: str, name: str) -> bool:
    """Return whether a package has a rule, by the server's list of policies. Raises UndecidedError."""
    try:
        modules = [module["ast"] for module in answer["result"]]
        return any(
            name in (head.get("name"), *(term.get("value") for term in head.get("ref", ())[:1]))
            for module in modules
            if [term["value"] for term in module["package"]["path"]] == query.split(".")
            for head in (rule["head"] for rule in module.get("rules") or ())
        )
    except (KeyError, TypeError, AttributeError):
        raise UndecidedError("its list of policies cannot be read. Write `default allow := false`") from None
