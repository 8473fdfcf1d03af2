"""Calls that go to Code Assist: their accounts, the envelope of their requests, and that of their responses."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec import structs

from wirekey.core.calls.attempt_state import AttemptSteps
from wirekey.core.credentials.pool import retry_after_seconds
from wirekey.core.errors import Fault, Refusal
from wirekey.core.wire.delegate import ResponseRefused
from wirekey.features.google_accounts.code_assist.backend import CodeAssist
from wirekey.features.google_accounts.code_assist.envelope import COUNT, check_body, target_of, wrapped
from wirekey.features.google_accounts.code_assist.errors import project_hint, write_error
from wirekey.features.google_accounts.code_assist.unwrapping import StreamUnwrapper, WholeUnwrapper, unwrapped
from wirekey.providers.request_head import read_query

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mitmproxy import http

    from wirekey.core.call import Call
    from wirekey.core.calls.attempt_state import AttemptState, Fields
    from wirekey.core.calls.rewriting import ResponseChange
    from wirekey.core.calls.settings import Settings
    from wirekey.core.credentials.pool import ProviderKey
    from wirekey.core.routing.candidate import Candidate
    from wirekey.features.google_accounts.code_assist.backend import PreparedAccount
    from wirekey.features.google_accounts.code_assist.pool import AccountPool

UNREADABLE = Refusal(
    502, "upstream_unreadable", "The response of Code Assist is not the JSON object that was expected.", Fault.PROVIDER
)
TOO_LARGE = Refusal(
    502,
    "upstream_unreadable",
    "The response is larger than limits.translated_response, so its envelope cannot be removed. Use a stream.",
    Fault.PROVIDER,
)
MOST_ERROR_BYTES = 256 * 1024
"""Bytes of an error that are read."""


@dataclass(frozen=True, slots=True)
class AccountCall:
    """The account of one attempt. It holds a token, so it is never stored, shown or logged."""

    backend: CodeAssist
    pool: AccountPool
    key: ProviderKey
    ready: PreparedAccount = field(repr=False)
    operation: str
    as_array: bool
    """Whether the client gets a stream as one JSON array."""

    def note_status(self, status: int, wait: float | None) -> None:
        """Note the status of the response. `wait`: the seconds of Retry-After, or None."""
        self.backend.note_status(self.pool, self.key, self.ready.token, status, wait)

    def note_error(self, status: int, wait: float | None, body: bytes) -> None:
        """Note the body of an error response."""
        self.backend.note_error(self.pool, self.key, status, wait, body)


# The request.


async def with_account(call: Call, attempt: AttemptState) -> AttemptState:
    """Return an attempt in its envelope, with the token of its account. Raises Refusal."""
    planned = attempt.planned
    backend, pool, key = planned.candidate.accounts, planned.candidate.pool, planned.key
    assert isinstance(backend, CodeAssist)
    if key is None:
        raise backend.no_account()
    operation = attempt.rewritten.operation if attempt.rewritten else call.operation
    assert operation
    check_body(operation.name, attempt.body)
    ready = await backend.ready(key)
    asks_events = read_query(attempt.target.partition(b"?")[2].decode("latin-1")).get("alt") == "sse"
    fields = [(b"authorization", b"Bearer " + ready.token.access_token.reveal().encode())]
    if ready.token.quota_project:
        fields.append((b"x-goog-user-project", ready.token.quota_project.encode()))
    account = AccountCall(
        backend,
        pool,  # type: ignore[arg-type]  # a backend's pool is one of accounts
        key,
        ready,
        operation.name,
        as_array=operation.stream and attempt.rewritten is None and not asks_events,
    )
    return structs.replace(
        attempt,
        target=(backend.upstream.path + target_of(operation.name)).encode(),
        body=wrapped(operation.name, attempt.model or "", ready.project, call.id, attempt.body),
        credential=key.label,
        added_headers=tuple(fields),
        features=attempt.features.plus(account),
    )


def code_assist_fields(account: AccountCall, fields: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the header fields of a request to Code Assist: of the client's own only Host remains."""
    kept = [(name, value) for name, value in fields if name.lower() == b"host"]
    return [
        *kept,
        (b"content-type", b"application/json"),
        (b"accept", b"*/*"),
        (b"accept-encoding", b"identity"),
        (b"user-agent", account.backend.settings.user_agent.encode()),
    ]


# The response.


class ErrorReader:
    """Reads the error of an attempt that a further attempt follows. It is fed the body, and b"" at its end."""

    def __init__(self, account: AccountCall, status: int, wait: float | None) -> None:
        self.account = account
        self.status = status
        self.wait = wait
        self._held = bytearray()

    def __call__(self, data: bytes) -> None:
        """Read the next bytes."""
        if data:
            if len(self._held) < MOST_ERROR_BYTES:
                self._held += data
            return
        self.account.note_error(self.status, self.wait, bytes(self._held))


class EnvelopeRemoval:
    """Removes the envelope of a response on its way to the client.

    `holds`: the response is read as a whole, and then sets its own length. Otherwise it is a stream.
    """

    def __init__(self, account: AccountCall, response: http.Response, wait: float | None, limit: int) -> None:
        """`wait`: the seconds of Retry-After, or None. `limit`: bytes of a response that is read as a whole."""
        self.account = account
        self.response = response
        self.wait = wait
        status, kind = response.status_code, response.headers.get("content-type", "").lower()
        self.holds = not (status < 300 and kind.startswith("text/event-stream"))
        self.whole = WholeUnwrapper(self.convert, limit)
        self.stream = StreamUnwrapper(as_array=account.as_array)
        self.unwrapped: bytes | None = None
        """The whole response without its envelope, if that was removed before the end."""
        if not self.holds and account.as_array:
            response.headers["content-type"] = "application/json; charset=UTF-8"

    def feed(self, data: bytes) -> list[bytes]:
        """Return what follows of a stream; hold anything else. Raises ResponseRefused."""
        if not self.holds:
            return self.stream.feed(data)
        self.whole.feed(data)
        if self.whole.is_too_long:
            raise ResponseRefused(TOO_LARGE)
        return []

    def finish(self, rest: Sequence[bytes]) -> bool:
        """Remove the envelope of a whole response, of which `rest` was not fed yet, before the end.

        It needs nothing of the event loop, so a thread may do it. `unwrapped` stays None for an error, and for what the
        end refuses.
        """
        for data in rest:
            self.whole.feed(data)
        if self.holds and self.response.status_code < 400 and not self.whole.is_too_long:
            held = self.whole.held
            self.unwrapped = held if self.account.operation == COUNT else unwrapped(held)
            if self.unwrapped is not None:
                self.whole.clear()
        return self.unwrapped is not None

    def end(self) -> list[bytes]:
        """Return the end of a stream, or the whole response. Raises ResponseRefused."""
        if not self.holds:
            return self.stream.end()
        if self.whole.is_too_long:
            raise ResponseRefused(TOO_LARGE)
        parts = self.whole.end() if self.unwrapped is None else [self.unwrapped]
        self.response.headers.pop("transfer-encoding", None)
        self.response.headers["content-length"] = str(sum(map(len, parts)))
        return parts

    def convert(self, document: bytes) -> bytes:
        """Return a whole response without its envelope. Raises ResponseRefused."""
        account, status = self.account, self.response.status_code
        if status >= 400:
            account.note_error(status, self.wait, document)
            if status == 429 and (soonest := account.pool.shortest_wait_now()):
                self.response.headers["retry-after"] = str(max(1, round(soonest)))
            named = None if account.backend.settings.looks_up else account.ready.project
            self.response.headers["content-type"] = "application/json; charset=UTF-8"
            return write_error(status, document, project_hint(status, named))
        found = document if account.operation == COUNT else unwrapped(document)
        if found is None:
            raise ResponseRefused(UNREADABLE)
        return found


class CodeAssistSteps(AttemptSteps):
    """The steps of each attempt at Code Assist."""

    def applies(self, candidate: Candidate) -> bool:
        """Return whether the accounts of a candidate are those of a backend of Code Assist."""
        return candidate.accounts is not None and isinstance(candidate.accounts, CodeAssist)

    def makes_credential(self, settings: Settings, attempt: AttemptState) -> bool:
        """Return True: every attempt is made with the token of an account."""
        return True

    async def with_credential(self, settings: Settings, call: Call, attempt: AttemptState) -> AttemptState:
        """Return an attempt in its envelope, with the token of its account. Raises Refusal."""
        return await with_account(call, attempt)

    def wire_fields(self, attempt: AttemptState, fields: Fields) -> Fields:
        """Return the header fields of a request to Code Assist, with none of the client's own but Host."""
        account = attempt.features.find(AccountCall)
        return code_assist_fields(account, fields) if account else fields

    def note_status(self, settings: Settings, attempt: AttemptState, status: int, wait: float | None) -> None:
        """Set the rest of an account that Google has limited."""
        if account := attempt.features.find(AccountCall):
            account.note_status(status, wait)

    def error_reader(self, attempt: AttemptState, status: int, wait: float | None) -> Callable[[bytes], None] | None:
        """Return what learns from the body of an error how long the account cools down."""
        account = attempt.features.find(AccountCall)
        return ErrorReader(account, status, wait) if account else None

    def response_change(self, attempt: AttemptState, response: http.Response, limit: int) -> ResponseChange | None:
        """Return what removes the envelope of a response."""
        account = attempt.features.find(AccountCall)
        if account is None:
            return None
        wait = retry_after_seconds(response.headers.get("retry-after"), time.time())
        return EnvelopeRemoval(account, response, wait, limit)
