"""Events as API Activity of OCSF 1.8: the attributes and types that the schema requires, and no field lost."""

from __future__ import annotations

import json

import pytest

from tests.features.audit_sinks.log_collector import LogCollector
from tests.features.audit_sinks.syslog_server import SyslogServer
from tests.support.recorded_calls import call_of, finish
from wirekey.core.audit.event import NAMES, event_of
from wirekey.core.call import Call, Outcome
from wirekey.core.secret import Secret
from wirekey.features.audit_sinks.config import AuditSinkConfig
from wirekey.features.audit_sinks.ocsf import MAPPED, api_activity
from wirekey.features.audit_sinks.otlp import OtlpSink
from wirekey.features.audit_sinks.syslog import SyslogSink

REQUIRED = ("activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid", "actor", "api")
INTEGERS = ("activity_id", "category_uid", "class_uid", "severity_id", "status_id", "time", "type_uid", "duration")
TEXTS = ("activity_name", "status", "status_code", "status_detail", "severity", "type_name")


def of(**more) -> dict:
    return dict(api_activity(event_of(finish(call_of(), **more))))


def check(activity: dict) -> None:
    """Check what the schema requires of the class and of its objects."""
    assert not [name for name in (*REQUIRED, "src_endpoint") if name not in activity]
    assert all(type(activity[name]) is int for name in INTEGERS if name in activity)
    assert all(type(activity[name]) is str for name in TEXTS if name in activity)
    assert activity["type_uid"] == activity["class_uid"] * 100 + activity["activity_id"]
    assert activity["metadata"].keys() >= {"product", "version"}
    assert activity["actor"].keys() & {"process", "user", "session", "app_name"}
    assert type(activity["api"]["operation"]) is str
    assert type(activity["api"]["request"]["uid"]) is str
    assert activity["src_endpoint"].keys() & {"ip", "name", "hostname"}
    assert activity.get("http_request", {}).get("url", {"path": "/"})["path"]
    assert type(activity.get("http_response", {"code": 1})["code"]) is int
    assert activity.get("ai_model", {"name": "", "ai_provider": ""}).keys() >= {"name", "ai_provider"}
    assert activity.get("message_context", {"service": ""}).keys() & {"application", "service"}
    json.dumps(activity)


def test_a_completed_call_has_each_field_at_its_place():
    event = event_of(finish(call_of(client="192.0.2.7")))
    activity = dict(api_activity(event))
    check(activity)
    assert (activity["class_uid"], activity["activity_id"], activity["type_uid"]) == (6003, 1, 600301)
    assert (activity["severity_id"], activity["status_id"], activity["status_code"]) == (1, 1, "200")
    assert activity["metadata"]["uid"] == event["id"]
    assert activity["metadata"]["version"] == "1.8.0"
    assert activity["actor"]["user"]["uid"] == "alice"
    assert activity["actor"]["user"]["groups"] == [{"name": "developer"}]
    assert activity["api"] == {
        "operation": "chat.completions",
        "service": {"name": "openai"},
        "request": {"uid": event["id"]},
        "response": {"code": 200},
    }
    assert activity["src_endpoint"] == {"ip": "192.0.2.7"}
    assert activity["dst_endpoint"] == {"hostname": "api.openai.com"}
    assert activity["http_request"]["url"] == {"path": "/v1/chat/completions"}
    assert activity["ai_model"] == {"name": "gpt-4o-mini", "ai_provider": "openai"}
    context = activity["message_context"]
    assert (context["prompt_tokens"], context["completion_tokens"], context["total_tokens"]) == (10, 20, 30)
    assert activity["unmapped"]["cost_usd"] == 0.25
    assert activity["duration"] == 50


@pytest.mark.parametrize(
    ("outcome", "severity", "status"), [("denied", 3, 2), ("upstream_error", 2, 2), ("interrupted", 2, 2)]
)
def test_a_call_that_did_not_succeed_says_so(outcome, severity, status):
    activity = of(outcome=Outcome(outcome), policy_reason="policy_denied: not for you")
    check(activity)
    assert (activity["severity_id"], activity["status_id"]) == (severity, status)
    assert activity["status_detail"] == "policy_denied: not for you"
    assert activity["api"]["response"]["error"] == outcome


@pytest.mark.parametrize(("method", "number"), [("GET", 2), ("PUT", 3), ("DELETE", 4), ("CONNECT", 99), (None, 99)])
def test_the_activity_follows_the_method(method, number):
    activity = of(method=method)
    check(activity)
    assert activity["activity_id"] == number


def test_a_call_of_which_little_is_known_is_valid():
    activity = dict(api_activity(event_of(Call(client=None))))
    check(activity)
    assert activity["actor"] == {"app_name": "unknown"}
    assert activity["src_endpoint"] == {"name": "unknown"}
    assert not {"ai_model", "message_context", "http_response", "dst_endpoint"} & activity.keys()


def test_no_field_of_the_audit_log_is_lost():
    assert set(NAMES) >= MAPPED
    event = event_of(finish(call_of(labels=(("team", "red"),))))
    assert set(api_activity(event)["unmapped"]) == {name for name, value in event.items() if value is not None} - MAPPED


def test_each_kind_of_sink_can_send_it(tmp_path):
    event = event_of(finish(call_of()))
    server, collector = SyslogServer("tcp"), LogCollector()
    try:
        syslog = SyslogSink(AuditSinkConfig(type="syslog", address=server.url, format="ocsf"))
        syslog.send([event])
        settings = AuditSinkConfig(type="otlp", endpoint=collector.url, format="ocsf")
        OtlpSink(settings, {"x-key": Secret("some-secret-of-ours")}, lambda *_: None).send([event])
        assert server.wait_for(1) == collector.wait_for(1) == [dict(api_activity(event))]
        syslog.close()
    finally:
        server.stop()
        collector.stop()
