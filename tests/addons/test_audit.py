"""A call is sent only once it is recorded, and its record is completed however it ends."""

import pytest
from mitmproxy.test import tflow

from wirekey.addons.audit import Audit
from wirekey.audit.store import AuditUnavailable
from wirekey.call import Outcome
from wirekey.calls.services import Services
from wirekey.calls.wire_delegate import CallDelegate


class Store:
    """Notes what it is told; with `trouble`, takes no intent."""

    def __init__(self):
        self.told = []
        self.trouble = None

    async def record_intent(self, call):
        if self.trouble:
            raise AuditUnavailable(self.trouble)
        self.told.append(("intent", call.policy_result, call.outcome))

    def record_outcome(self, call):
        self.told.append(("outcome", call.status, call.outcome))

    def record_final(self, call):
        self.told.append(("final", call.status, call.outcome))


@pytest.fixture
def services():
    services = Services()
    services.store = Store()
    return services


@pytest.fixture
def audit(services):
    return Audit(services)


@pytest.fixture
def flow(services):
    flow = tflow.tflow()
    services.calls.open(flow)
    return flow


async def done(waiting):
    """Wait for a hook, as mitmproxy does."""
    if waiting is not None:
        await waiting


async def test_intent_then_outcome(audit, services, flow):
    await done(audit.requestheaders(flow))
    flow.response = tflow.tresp(status_code=200)
    audit.response(flow)
    assert services.store.told == [("intent", "allow", None), ("outcome", 200, "completed")]
    assert services.calls.states == {}


async def test_a_call_whose_body_decides_is_recorded_once_after_the_body(audit, services, flow):
    services.calls.of(flow).reads_body = True
    await done(audit.requestheaders(flow))
    assert services.store.told == []
    await done(audit.request(flow))
    assert [kind for kind, *_ in services.store.told] == ["intent"]


@pytest.mark.parametrize(("status", "outcome"), [(200, "completed"), (302, "completed"), (429, "upstream_error")])
async def test_the_status_tells_how_a_call_ended(audit, services, flow, status, outcome):
    await done(audit.requestheaders(flow))
    flow.response = tflow.tresp(status_code=status)
    audit.response(flow)
    assert services.store.told[-1] == ("outcome", status, outcome)


async def test_what_the_wire_said_of_the_end_stays(audit, services, flow):
    await done(audit.requestheaders(flow))
    CallDelegate(services).report_end(flow, Outcome.TRUNCATED)
    flow.response = tflow.tresp(status_code=200)
    audit.response(flow)
    assert services.store.told[-1] == ("outcome", 200, "truncated")


async def test_a_client_that_went_away_is_told_as_such(audit, services, flow):
    await done(audit.requestheaders(flow))
    audit.error(flow)
    audit.error(flow)
    assert services.store.told[1:] == [("outcome", None, "client_cancelled")]


@pytest.mark.parametrize(("status", "outcome"), [(200, "client_cancelled"), (503, "upstream_error")])
async def test_a_client_that_leaves_at_the_head_of_an_error_left_because_of_the_error(
    audit, services, flow, status, outcome
):
    await done(audit.requestheaders(flow))
    services.calls.of(flow).status = status
    CallDelegate(services).report_end(flow, Outcome.CLIENT_CANCELLED)
    audit.error(flow)
    assert services.store.told[1:] == [("outcome", status, outcome)]


async def test_a_call_that_cannot_be_recorded_is_refused_and_says_why(audit, services, flow):
    services.store.trouble = "the disk of the audit file is full"
    await done(audit.requestheaders(flow))
    assert flow.response.status_code == 503
    assert b"so it was not sent: the disk of the audit file is full." in flow.response.content
    audit.response(flow)
    assert services.store.told == [("final", 503, "denied")]


async def test_a_call_that_was_refused_before_has_a_final_record_only(audit, services, flow):
    services.store.trouble = "not asked"
    call = services.calls.of(flow)
    call.outcome, call.status = Outcome.DENIED, 403
    flow.response = tflow.tresp(status_code=403)
    await done(audit.requestheaders(flow))
    audit.response(flow)
    assert services.store.told == [("final", 403, "denied")]
