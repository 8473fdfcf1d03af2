"""A call is recorded before it is sent, and its record is completed however it ends."""

import pytest
from mitmproxy.test import tflow

from wirekey.core.addons.audit import Audit
from wirekey.core.audit.audit_log import AuditUnavailable
from wirekey.core.call import Outcome
from wirekey.core.calls.services import Services
from wirekey.core.calls.wire_delegate import CallDelegate
from wirekey.core.identity.agents import AgentStore


class Store:
    """A store that keeps what it is asked to record in `recorded`. With `trouble` set, it rejects every intent."""

    def __init__(self):
        self.recorded = []
        self.trouble = None

    async def record_intent(self, call):
        if self.trouble:
            raise AuditUnavailable(self.trouble)
        self.recorded.append(("intent", call.policy_result, call.outcome))

    def record_outcome(self, call):
        self.recorded.append(("outcome", call.status, call.outcome))

    def record_final(self, call):
        self.recorded.append(("final", call.status, call.outcome))


@pytest.fixture
def services(tmp_path):
    services = Services()
    services.agents = AgentStore(tmp_path / "agents.json")
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
    """Await a hook, as mitmproxy does."""
    if waiting is not None:
        await waiting


async def test_intent_then_outcome(audit, services, flow):
    await done(audit.requestheaders(flow))
    services.calls.state(flow).was_sent = True
    flow.response = tflow.tresp(status_code=200)
    audit.response(flow)
    assert services.store.recorded == [("intent", "allow", None), ("outcome", 200, "completed")]
    assert services.calls.states == {}


async def test_a_call_decided_by_its_body_is_recorded_once_after_the_body(audit, services, flow):
    services.calls.of(flow).reads_body = True
    await done(audit.requestheaders(flow))
    assert services.store.recorded == []
    await done(audit.request(flow))
    assert [kind for kind, *_ in services.store.recorded] == ["intent"]


@pytest.mark.parametrize(("status", "outcome"), [(200, "completed"), (302, "completed"), (429, "upstream_error")])
async def test_the_outcome_follows_from_the_status(audit, services, flow, status, outcome):
    await done(audit.requestheaders(flow))
    services.calls.state(flow).was_sent = True
    flow.response = tflow.tresp(status_code=status)
    audit.response(flow)
    assert services.store.recorded[-1] == ("outcome", status, outcome)


async def test_a_response_to_a_call_that_was_not_sent_completes_only_what_wirekey_responds_to(audit, services, flow):
    for responds_here, outcome in ((False, "interrupted"), (True, "completed")):
        services.calls.find_or_open(flow).responds_here = responds_here
        flow.response = tflow.tresp(status_code=200)
        audit.response(flow)
        assert services.store.recorded.pop()[-1] == outcome


async def test_an_outcome_reported_by_the_wire_layer_is_kept(audit, services, flow):
    await done(audit.requestheaders(flow))
    CallDelegate(services).report_end(flow, Outcome.TRUNCATED)
    flow.response = tflow.tresp(status_code=200)
    audit.response(flow)
    assert services.store.recorded[-1] == ("outcome", 200, "truncated")


async def test_a_disconnect_of_the_client_is_recorded_as_client_cancelled(audit, services, flow):
    await done(audit.requestheaders(flow))
    audit.error(flow)
    audit.error(flow)
    assert services.store.recorded[1:] == [("outcome", None, "client_cancelled")]


@pytest.mark.parametrize(("status", "outcome"), [(200, "client_cancelled"), (503, "upstream_error")])
async def test_a_disconnect_after_the_head_of_an_error_is_recorded_as_upstream_error(
    audit, services, flow, status, outcome
):
    await done(audit.requestheaders(flow))
    services.calls.of(flow).status = status
    CallDelegate(services).report_end(flow, Outcome.CLIENT_CANCELLED)
    audit.error(flow)
    assert services.store.recorded[1:] == [("outcome", status, outcome)]


async def test_a_call_that_cannot_be_recorded_is_refused_with_the_reason(audit, services, flow):
    services.store.trouble = "the disk of the audit file is full"
    await done(audit.requestheaders(flow))
    assert flow.response.status_code == 503
    assert b"so it was not sent: the disk of the audit file is full." in flow.response.content
    audit.response(flow)
    assert services.store.recorded == [("final", 503, "denied")]


async def test_a_call_refused_earlier_has_only_a_final_record(audit, services, flow):
    services.store.trouble = "not asked"
    call = services.calls.of(flow)
    call.outcome, call.status = Outcome.DENIED, 403
    flow.response = tflow.tresp(status_code=403)
    await done(audit.requestheaders(flow))
    audit.response(flow)
    assert services.store.recorded == [("final", 403, "denied")]
