"""The live page and its data. Everything is read-only; only signing in and out changes anything, in memory.

GET  /                   the page, which shows nothing without signing in
GET  /console/NAME       its scripts and styles
POST /console/sign-in    {"key": the operator token, or the code of a link}
POST /console/sign-out
GET  /console/state      keys, agents, policy, what needs attention
GET  /console/calls      the recent calls; ?denied=1 the recent denials; ?ids=A,B these; ?run=A&agent=B those of a run,
                         ?session=A&sub_agent=B&agent=C those of a session
GET  /console/trees      runs and sessions with their sub-agents
GET  /console/totals     ?period=hour|day|week &by=agent|model|provider
GET  /console/events     the live feed, as server-sent events
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs

import msgspec

from wirekey.core.audit.event import FIELDS
from wirekey.core.command_name import COMMAND
from wirekey.core.egress.addresses import is_loopback
from wirekey.core.endpoints.reply import Streamed
from wirekey.core.endpoints.routes import wrong_method
from wirekey.core.local_response import LocalResponse, local_error, local_json
from wirekey.features.console import gate
from wirekey.features.console.recorded import PERIODS, Recorded
from wirekey.features.console.sessions import LIFETIME, SignInError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from wirekey.core.endpoints.local_request import LocalRequest
    from wirekey.core.endpoints.reply import LocalHandler, LocalReply
    from wirekey.features.console.config import PageAccess
    from wirekey.features.console.feed import Feed
    from wirekey.features.console.sessions import SignInSessions

PAGE_FOLDER = Path(__file__).parent / "page"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
OWN_SITE = (("cross-origin-resource-policy", "same-origin"), ("cross-origin-opener-policy", "same-origin"))
FIELD_TABLE = [{"name": field.name, "type": field.type, "description": field.event} for field in FIELDS]


class SignIn(msgspec.Struct):
    """The body of a sign-in request. The key is left out of its `repr`."""

    key: str

    def __repr__(self) -> str:
        return "SignIn(…)"


_sign_in_decoder = msgspec.json.Decoder(SignIn)


class ConsoleState(Protocol):
    """Provides who may see the page, and the state that it shows."""

    def access(self) -> PageAccess:
        """Return who may see the page at present."""

    async def state(self) -> dict[str, Any]:
        """Return the content of /console/state."""


class LivePage:
    """Serves the page, its data and the sign-in. For one event loop."""

    def __init__(self, services: ConsoleState, feed: Feed, sessions: SignInSessions, recorded: Recorded) -> None:
        self.feed = feed
        self._console = services
        self._sessions = sessions
        self._recorded = recorded
        self._pages = {f"/console/{file.name}": page_file(file) for file in sorted(PAGE_FOLDER.iterdir())}
        self._pages["/"] = self._pages.pop("/console/index.html")

    def routes(self) -> Mapping[str, LocalHandler]:
        """Return the handlers by path."""
        protected: dict[str, Callable[[LocalRequest], LocalReply]] = {
            "/console/state": lambda _: self._state(),
            "/console/calls": self._calls,
            "/console/totals": self._totals,
            "/console/trees": self._trees,
            "/console/events": self._events,
        }
        return {
            **dict.fromkeys(self._pages, self._page),
            "/console/sign-in": self._sign_in,
            "/console/sign-out": self._sign_out,
            **{path: self._if_signed_in(handler) for path, handler in protected.items()},
        }

    # Access.

    def _refusal(self, request: LocalRequest) -> LocalResponse | None:
        access = self._console.access()
        return gate.refusal(request, access.names, remote=access.remote)

    def _is_signed_in(self, request: LocalRequest) -> bool:
        if self._console.access().sign_in == "loopback" and is_from_this_machine(request):
            return True
        return self._sessions.holds(gate.cookie_of(request, cookie_name(request)))

    def _if_signed_in(self, handler: LocalHandler) -> LocalHandler:
        def guarded(request: LocalRequest) -> LocalReply:
            if refusal := self._refusal(request) or gate.refuse_other_sites(request):
                return refusal
            if refusal := wrong_method(request):
                return refusal
            if not self._is_signed_in(request):
                return local_error(401, "signed_out", f"Sign in first. {COMMAND} console prints a link.")
            return handler(request)

        return guarded

    def _sign_in(self, request: LocalRequest) -> LocalResponse:
        if refusal := self._refusal(request) or gate.refuse_other_sites(request) or not_posted(request):
            return refusal
        try:
            key = _sign_in_decoder.decode(request.body or b"").key.strip()
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return local_error(400, "malformed", 'Send {"key": "…"} as application/json.')
        try:
            cookie = self._sessions.begin(key, request.address)
        except SignInError as error:
            extra = [("retry-after", str(error.wait))] if error.wait else []
            return local_error(error.status, "not_signed_in", str(error), *extra)
        return local_json(200, {"signed_in": True}, ("set-cookie", cookie_header(request, cookie, int(LIFETIME))))

    def _sign_out(self, request: LocalRequest) -> LocalResponse:
        if refusal := self._refusal(request) or gate.refuse_other_sites(request) or not_posted(request):
            return refusal
        self._sessions.end(gate.cookie_of(request, cookie_name(request)))
        return local_json(200, {"signed_in": False}, ("set-cookie", cookie_header(request, "", 0)))

    # Content.

    def _page(self, request: LocalRequest) -> LocalResponse:
        return self._refusal(request) or wrong_method(request) or self._pages[request.path]

    async def _state(self) -> LocalResponse:
        state = await self._console.state()
        in_progress = self.feed.in_progress + state.pop("in_progress_elsewhere", 0)
        return json_with_time({**state, "in_progress": in_progress, "fields": FIELD_TABLE})

    async def _calls(self, request: LocalRequest) -> LocalResponse:
        query = parse_qs(request.query, max_num_fields=10) if len(request.query) < 8192 else {}
        labels: dict[str, str] = {name: query[name][0] for name in ("run", "session", "sub_agent") if name in query}
        if "run" in labels or "session" in labels:
            rows = await self._recorded.labelled(query.get("agent", [None])[0], labels)
        elif "ids" in query:
            rows = await self._recorded.these(query["ids"][0].split(","))
        elif "denied" in query:
            rows = await self._recorded.denied()
        else:
            rows = await self._recorded.recent()
            self.feed.await_ends(str(row[0]) for row in rows if row[OUTCOME] is None)
        return json_with_time({"rows": rows})

    def _totals(self, request: LocalRequest) -> LocalResponse | Awaitable[LocalResponse]:
        query = parse_qs(request.query, max_num_fields=10)
        period, by = query.get("period", ["hour"])[0], query.get("by", ["agent"])[0]
        if period not in PERIODS or by not in ("agent", "model", "provider"):
            return local_error(400, "malformed", "period is hour, day or week; by is agent, model or provider.")

        async def answered() -> LocalResponse:
            body = await self._recorded.totals(period, by)
            return of_bytes(200, body)

        return answered()

    async def _trees(self, _: LocalRequest) -> LocalResponse:
        return of_bytes(200, await self._recorded.trees())

    def _events(self, request: LocalRequest) -> LocalReply:
        if self.feed.is_full:
            return local_error(503, "too_many_pages", "Too many pages are open. Close some.", ("retry-after", "10"))
        last = next(iter(request.values("last-event-id")), None)
        head = LocalResponse(
            200, (("content-type", "text/event-stream"), ("cache-control", "no-store"), *OWN_SITE), b""
        )
        if request.method == "HEAD":
            return LocalResponse(200, (*head.headers, ("content-length", "0")), b"")
        # An open page counts as used, because a hidden page closes its feed.
        return Streamed(head, lambda outlet: self.feed.join(outlet, last, lambda: self._is_signed_in(request)))


OUTCOME = [field.name for field in FIELDS].index("outcome")


def is_from_this_machine(request: LocalRequest) -> bool:
    """Return whether a request comes from this machine, without a reverse proxy."""
    return is_loopback(request.address) and not request.is_forwarded


def not_posted(request: LocalRequest) -> LocalResponse | None:
    """Return the refusal of a request that is not a JSON POST, or None."""
    if request.method != "POST":
        return local_error(405, "invalid_request", "Send this with POST.", ("allow", "POST"))
    # A form of another site cannot send this without a preflight request.
    if [value.partition(";")[0].strip().lower() for value in request.values("content-type")] != ["application/json"]:
        return local_error(415, "invalid_request", "Send application/json.")
    return None


def cookie_name(request: LocalRequest) -> str:
    """Return a name that includes the port, because all ports of a host share cookies and may run another Wirekey."""
    port = (request.values("host") or [""])[0].rpartition(":")[2]
    return f"wirekey-{port}" if port.isascii() and port.isdigit() else "wirekey"


def cookie_header(request: LocalRequest, value: str, seconds: int) -> str:
    """Return the Set-Cookie value of the session cookie."""
    # Not Secure: the console uses plain HTTP on loopback. The path keeps the cookie from most other programs there.
    return f"{cookie_name(request)}={value}; Path=/console/; Max-Age={seconds}; HttpOnly; SameSite=Strict"


def page_file(file: Path) -> LocalResponse:
    """Return the response for a file of the page."""
    headers = [("content-type", TYPES[file.suffix]), *OWN_SITE]
    if file.suffix == ".html":
        headers.append(("content-security-policy", PAGE_POLICY))
    body = file.read_bytes().replace(b"./run.sh", COMMAND.encode())
    return LocalResponse(200, (*headers, ("content-length", str(len(body)))), body)


def json_with_time(content: dict[str, Any]) -> LocalResponse:
    """Return a JSON response with the present time as `now`."""
    return of_bytes(200, json.dumps({**content, "now": time.time()}, separators=(",", ":")).encode())


def of_bytes(status: int, body: bytes) -> LocalResponse:
    """Return a response with a JSON body."""
    headers = (("content-type", "application/json"), ("content-length", str(len(body))), *OWN_SITE)
    return LocalResponse(status, headers, body)
