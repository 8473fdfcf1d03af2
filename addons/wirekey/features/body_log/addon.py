"""Logs requests and responses with their bodies, if log.bodies names a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.addons.base import AdmittingAddon
from wirekey.core.calls.response_copy import ResponseCopy
from wirekey.core.operation import Kind
from wirekey.features.body_log.log import LONGEST_BODY, BodyEntry, BodyLog

if TYPE_CHECKING:
    from mitmproxy import http

    from wirekey.core.body import RequestBody
    from wirekey.core.call import Call
    from wirekey.core.calls.state import CallState


class LoggedResponse(ResponseCopy):
    """The copy of a response for the log, with its head."""

    status: int | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()


class BodyLogger(AdmittingAddon):
    """Logs each allowed request and its response. Without log.bodies it does nothing.

    It comes before `Audit`, which redacts the flow. Refused requests are not logged, and
    neither are the bodies of logins, which hold tokens.
    """

    def admit(self, flow: http.HTTPFlow, call: Call) -> None:
        """Log a request that is about to be sent, and begin to copy its response."""
        log = self.services.opened.find(BodyLog)
        if log is None:
            return
        state, request = self.calls.state(flow), self.calls.request(flow)
        if call.operation and call.operation.kind is not Kind.LOGIN:
            state.response_copies += (LoggedResponse(""),)
        facts = facts_of(call) | {
            "method": request.method,
            "host": state.host,
            "path": request.data.path.decode("utf-8", "surrogateescape"),
        }
        body = state.body
        content = (lambda: beginning_of(body)) if call.reads_body else None
        size = len(body) if call.reads_body else 0
        log.write(BodyEntry("request", call.id, facts, request.headers.fields, content, size, self.secrets(state)))

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Keep the head of the response, which `Audit` redacts on the flow."""
        state = self.calls.find(flow) if self.services.opened.find(BodyLog) else None
        copy = logged_response(state) if state else None
        if copy and flow.response:
            copy.status, copy.headers = flow.response.status_code, flow.response.headers.fields

    def response(self, flow: http.HTTPFlow) -> None:
        """Log a whole response."""
        self.log_response(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        """Log a response that broke off."""
        self.log_response(flow)

    def log_response(self, flow: http.HTTPFlow) -> None:
        """Log what the client got of a response."""
        log, state = self.services.opened.find(BodyLog), self.calls.find(flow)
        copy = logged_response(state) if state else None
        if log is None or state is None or copy is None:
            return
        own = flow.response.raw_content if flow.response and not copy.pieces else None
        if own:
            copy.feed(own)
        facts = facts_of(state.call) | {"status": copy.status}
        size = max(state.tap.received if state.tap else 0, copy.size) if copy.is_plain else copy.size
        log.write(BodyEntry("response", state.call.id, facts, copy.headers, copy.content, size, self.secrets(state)))

    def secrets(self, state: CallState) -> tuple[bytes, ...]:
        """Return the secrets of the call and of all keys that Wirekey has."""
        pools = self.services.settings.all_pools().values()
        keys = [key.secret.reveal().encode() for pool in pools for key in pool.keys]
        return tuple(dict.fromkeys((*state.secrets, *keys)))


def facts_of(call: Call) -> dict[str, object]:
    """Return the facts of a call that both lines have."""
    return {
        "agent_id": call.agent.id if call.agent else None,
        "provider": call.provider,
        "operation": call.operation.name if call.operation else None,
    }


def logged_response(state: CallState) -> LoggedResponse | None:
    """Return the copy that is made of the response of a call."""
    return next((copy for copy in state.response_copies if isinstance(copy, LoggedResponse)), None)


def beginning_of(body: RequestBody) -> bytes:
    """Return the part of a body that is logged. Of a body in a file, one byte more shows that it is cut."""
    return body if isinstance(body, bytes) else body[: LONGEST_BODY + 1]
