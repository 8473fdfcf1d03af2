"""Retry decides whether a failed attempt is followed by a further one, and records it before it is sent."""

from __future__ import annotations

import pytest
from mitmproxy.test import taddons, tutils

from tests.support.addon_flows import CHAT, recognised, request_flow, services_for
from wirekey.core.addons.credentials import Credentials
from wirekey.core.addons.retry import Retry
from wirekey.core.audit.audit_log import AuditUnavailable
from wirekey.core.call import Agent, FailureKind
from wirekey.core.credentials.pool import KeyPool, ProviderKey
from wirekey.core.model_name import ModelName
from wirekey.core.routing.candidate import Candidate, Upstream
from wirekey.core.routing.plan import Failover, RetryPlan
from wirekey.core.secret import Secret
from wirekey.core.wire.retry_hooks import FailedAttempt

STATUS = FailureKind.STATUS


class Store:
    """A store that keeps the failed attempts of each call that it records. With `trouble` set, it rejects them."""

    def __init__(self):
        self.recorded = []
        self.trouble = None

    async def record_next_attempt(self, call):
        if self.trouble:
            raise AuditUnavailable(self.trouble)
        self.recorded.append([(each.credential, each.failure, each.status) for each in call.failed_attempts])


def pool_of(count):
    return KeyPool([ProviderKey(f"openai/{number}", Secret(f"sk-key-{number}")) for number in range(1, count + 1)])


def begun(*candidates, failover=None):
    """Return the addon, and the flow of a call whose first attempt is in progress."""
    services = services_for()
    services.store = Store()
    flow = request_flow()
    recognised(services, flow, CHAT, model="gpt-4o").agent = Agent("alice")
    state = services.calls.state(flow)
    state.plan = RetryPlan(candidates or (Candidate("openai", pool=pool_of(2)),), failover or Failover())
    state.original_target = b"/v1/chat/completions"
    Credentials(services).request(flow)
    return Retry(services), flow


async def failed(addon, flow, kind, status=None, **headers):
    """Run the addon for a failed attempt, and return the attempt."""
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    response = tutils.tresp(status_code=status, headers=fields) if status else None
    attempt = FailedAttempt(flow, kind, response)
    with taddons.context(loadcore=False):
        await addon.attempt_failed(attempt)
    return attempt


@pytest.mark.parametrize(
    ("kind", "status", "retried"),
    [
        (FailureKind.CONNECT, None, True),
        (FailureKind.FIRST_BYTE, None, True),
        (FailureKind.RESET, None, True),
        (STATUS, 429, True),
        (STATUS, 500, True),
        (STATUS, 529, True),
        (STATUS, 401, True),
        (STATUS, 400, False),
        (STATUS, 404, False),
    ],
)
async def test_a_failure_that_may_pass_is_followed_by_an_attempt_with_the_other_key(kind, status, retried):
    addon, flow = begun()
    first = addon.calls.state(flow).attempt
    attempt = await failed(addon, flow, kind, status)
    state = addon.calls.state(flow)
    assert attempt.retry is retried
    assert addon.services.store.recorded == ([[("openai/1", kind.value, status)]] if retried else [])
    assert state.attempt.credential == ("openai/2" if retried else "openai/1")
    assert (state.attempt is first) is not retried
    assert state.response_recorded is (status is not None and not retried)


@pytest.mark.parametrize(
    ("candidates", "failover", "retried"),
    [
        ((Candidate("openai", pool=pool_of(1)),), None, False),
        ((Candidate("openai", pool=pool_of(2)),), Failover(1), False),
        ((Candidate("openai", pool=pool_of(2)),), Failover(max_seconds=0), False),
        ((Candidate("openai", pool=pool_of(1)), Candidate("openai", auth="none", model=ModelName("o3"))), None, True),
    ],
    ids=["no other key", "one attempt", "no time left", "a fallback"],
)
async def test_the_plan_limits_the_attempts(candidates, failover, retried):
    addon, flow = begun(*candidates, failover=failover)
    assert (await failed(addon, flow, STATUS, 500)).retry is retried
    assert addon.calls.state(flow).attempt.model == ("o3" if retried else "gpt-4o")


async def test_a_fallback_is_sent_to_its_own_upstream_with_nothing_of_the_first_key():
    other = Candidate("openai", auth="none", upstream=Upstream("llm.corp.example"), route="routes[1]")
    addon, flow = begun(Candidate("openai", pool=pool_of(1)), other)
    await failed(addon, flow, FailureKind.CONNECT)
    attempt = addon.calls.state(flow).attempt
    assert (attempt.upstream.host, attempt.key, attempt.pool, attempt.secrets) == ("llm.corp.example", None, None, ())
    assert addon.calls.of(flow).upstream == "llm.corp.example"


@pytest.mark.parametrize("cause", ["no key", "no record"])
async def test_the_failure_stands_if_the_next_attempt_cannot_be_made(cause):
    second = Candidate("openai") if cause == "no key" else Candidate("openai", auth="none")
    addon, flow = begun(Candidate("openai", pool=pool_of(1)), second)
    first = addon.calls.state(flow).attempt
    addon.services.store.trouble = "the disk is full" if cause == "no record" else None
    attempt = await failed(addon, flow, STATUS, 500)
    state = addon.calls.state(flow)
    assert attempt.retry is False
    assert state.attempt is first
    assert (state.call.failed_attempts, state.call.credential, state.response_recorded) == ((), "openai/1", True)
    assert flow.response is None, "the client gets the response of the provider"


@pytest.mark.parametrize(("leaves", "retried"), [(False, True), (True, False)])
async def test_a_short_retry_after_is_waited_for_unless_the_client_leaves(leaves, retried):
    addon, flow = begun(Candidate("openai", pool=pool_of(1)), failover=Failover(max_retry_after=2.0))
    attempt = FailedAttempt(flow, STATUS, tutils.tresp(status_code=503, headers=((b"retry-after", b"0.01"),)))
    if leaves:
        attempt.client_left.set()
    with taddons.context(loadcore=False):
        await addon.attempt_failed(attempt)
    assert attempt.retry is retried


async def test_a_call_without_a_plan_is_not_repeated():
    services = services_for()
    flow = request_flow()
    services.calls.open(flow)
    assert (await failed(Retry(services), flow, FailureKind.CONNECT)).retry is False


@pytest.mark.parametrize("trouble", [None, "the disk is full"])
async def test_a_request_that_was_not_processed_is_repeated_once_that_is_recorded(trouble):
    addon, flow = begun()
    addon.services.store.trouble = trouble
    attempt = FailedAttempt(flow, FailureKind.STALE)
    with taddons.context(loadcore=False):
        await addon.attempt_repeated(attempt)
    assert attempt.retry is (trouble is None)
    assert addon.services.store.recorded == ([[("openai/1", "stale", None)]] if attempt.retry else [])
