"""What a policy sees of a call: the fields of the contract, none of the content, no credential."""

import json
from dataclasses import replace

import pytest

from tests.support.recorded_calls import call_of
from wirekey.core.audit.event import LABEL_NAMES, REQUEST_NAMES, event_of
from wirekey.core.body import Body
from wirekey.core.call import Agent
from wirekey.core.calls.tunnels import TUNNEL
from wirekey.core.errors import Refusal
from wirekey.core.labels import checked
from wirekey.core.model_name import MODEL_LENGTH
from wirekey.core.operation import Facts, Kind, Operation
from wirekey.core.policy.decision import UndecidedError
from wirekey.core.policy.input import (
    FIELDS,
    HEADERS,
    LARGEST_INPUT,
    MOST_TOOLS,
    QUOTA_FIELDS,
    build_input,
    encode_input,
)
from wirekey.core.policy.permissions import check_permission, needed
from wirekey.core.policy.replay import recorded_input
from wirekey.providers.other_models import MOST_OTHER_MODELS, others

FACTS = Facts("gpt-4o", True, 3, True, True, 2, 100, ("search", "shell"), ("gpt-image-1",))
FACTS = replace(FACTS, modifiers=(("service_tier", "fast"),))
LABELS = {
    "labels": (("team", "search"),),
    "header_labels": checked([("session", "s1"), ("team", "ads"), ("run", "two words")]),
}


def names_of(given):
    """The fields of an input, `agent`'s as agent.x."""
    return {name for name in given if name != "agent"} | {f"agent.{name}" for name in given["agent"]}


def test_a_full_call_shows_exactly_the_fields_of_the_table():
    """Those of quotas are added if a quota applies to the call and the policy reads them."""
    given = build_input(call_of(facts=FACTS, backend="gemini-cli-acp", **LABELS), {})
    assert names_of(given) | {*QUOTA_FIELDS} == {field.name for field in FIELDS}


def test_the_fields_of_the_request_are_those_of_the_audit_event_and_model_is_the_one_asked_for():
    call = call_of(facts=FACTS, model="gpt-4o-mini")
    given, event = build_input(call, {}), event_of(call)
    assert {name: given[name] for name in REQUEST_NAMES if name != "model"} == {
        name: event[name] for name in REQUEST_NAMES if name != "model"
    }
    assert given["model"] == given["requested_model"] == "gpt-4o"
    assert event["model"] == "gpt-4o-mini"


def test_the_agent_is_in_the_input_as_an_object_and_as_fields():
    call = call_of(facts=FACTS)
    call.agent = Agent("alice", "developer", None, ("web:read",))
    given = build_input(call, {})
    assert given["agent"] == {"id": "alice", "role": "developer", "permissions": ["web:read"]}
    assert (given["agent_id"], given["agent_role"]) == ("alice", "developer")
    assert "agent_type" not in given


def test_without_an_agent_there_is_no_name_and_the_default_permissions():
    call = call_of(facts=FACTS)
    call.agent = None
    given = build_input(call, {})
    assert given["agent"] == {"permissions": ["web:read", "web:write"]}
    assert not {"agent_id", "agent_role", "agent_type"} & given.keys()


def test_unknown_fields_are_absent_and_never_null():
    call = call_of(facts=Facts(), operation=Operation("models.list", Body.NONE, Kind.LISTING))
    given = build_input(call, {})
    assert "model" not in given
    assert "max_tokens" not in given
    assert None not in given.values()
    assert (given["tools"], given["other_models"], given["headers"]) == ([], [], {})


def test_the_other_models_stand_beside_the_one_asked_for():
    given = build_input(call_of(facts=FACTS), {})
    assert (given["model"], given["other_models"]) == ("gpt-4o", ["gpt-image-1"])


def test_R33_no_modifier_of_the_price_hides_another():
    modifiers = (("service_tier", "auto"), ("speed", "fast"), ("inference_geo", "US"))
    given = build_input(call_of(facts=replace(FACTS, modifiers=modifiers)), {})
    assert given["service_tier"] == "fast+us"
    assert given["price_modifiers"] == ["service_tier=auto", "speed=fast", "inference_geo=us"]
    given = build_input(call_of(facts=FACTS), {})
    assert (given["service_tier"], given["price_modifiers"]) == ("priority", ["service_tier=priority"])
    assert "service_tier" not in build_input(call_of(facts=Facts("m")), {})


def test_P1_a_policy_sees_as_many_other_models_as_a_request_may_have():
    names = tuple(f"{number:0{MODEL_LENGTH}}" for number in range(MOST_OTHER_MODELS))
    encode_input(build_input(call_of(facts=Facts("m", other_models=others(names, "m"))), {}))


def test_the_path_has_no_query():
    given = build_input(call_of(path="/v1/chat/completions?key=secret"), {})
    assert (given["path"], given["target"]) == ("/v1/chat/completions", "/openai/v1/chat/completions")
    assert "secret" not in json.dumps(given)


@pytest.mark.parametrize(
    "name",
    [
        *("authorization", "proxy-authorization", "x-goog-api-key", "x-api-key", "api-key", "cookie", "x-openai-key"),
        *("x-aws-secret-key", "x-amz-security-token", "x-gemini-key", "x-anthropic-key", "x-aws-bearer-token"),
    ],
)
def test_no_header_that_can_hold_a_credential_is_shown(name):
    assert name not in HEADERS
    assert build_input(call_of(), {name: "s3cret", "user-agent": "curl"})["headers"] == {"user-agent": "curl"}


def test_headers_are_shown_in_ascii():
    headers = build_input(call_of(), {"user-agent": "caf\u00e9 \udcff"})["headers"]
    assert headers == {"user-agent": "caf\\xe9 \\udcff"}
    encode_input(build_input(call_of(), {"user-agent": "\udcff"}))


@pytest.mark.parametrize(
    "facts",
    [
        Facts(tools=("t",) * (MOST_TOOLS + 1)),
        Facts(tools=("x" * LARGEST_INPUT,)),
        Facts(tools=("\ud800",)),
    ],
)
def test_P1_no_policy_is_evaluated_for_a_huge_call(facts):
    with pytest.raises(UndecidedError):
        encode_input(build_input(call_of(facts=facts), {}))


@pytest.mark.parametrize(
    ("action", "kind", "permission"),
    [
        ("GET", Kind.LISTING, "web:read"),
        ("GET", Kind.STORAGE, "web:read"),
        ("POST", Kind.INFERENCE, "web:write"),
        ("POST", Kind.STORAGE, "web:write"),
        ("DELETE", Kind.STORAGE, "web:write"),
        ("PATCH", Kind.STORAGE, "web:write"),
        ("POST", Kind.LISTING, "web:read"),
    ],
)
def test_an_agent_needs_the_permission_to_read_or_to_write(action, kind, permission):
    call = call_of(method=action, operation=Operation("x", Body.NONE, kind))
    assert needed(call) == permission
    call.agent = Agent("alice", None, None, (permission,))
    check_permission(call)
    for rest in ((), ("web:read", "web:write", "web:admin", "WEB:READ")):
        call.agent = Agent("alice", None, None, tuple(other for other in rest if other != permission))
        with pytest.raises(Refusal, match=permission) as refused:
            check_permission(call)
        assert (refused.value.status, refused.value.code) == (403, "missing_permission")


def test_a_call_without_an_agent_has_no_permission():
    call = call_of()
    call.agent = None
    with pytest.raises(Refusal):
        check_permission(call)


def test_labels_are_seen_by_where_they_come_from_and_a_replay_sees_the_same():
    call = call_of(facts=FACTS, **LABELS)
    given = build_input(call, {})
    assert given["labels"] == {"team": "search"}
    assert given["labels_unverified"] == {"session": "s1"}
    assert given["labels_invalid"] == ["run"]
    replayed = recorded_input(event_of(call), lambda _: given["agent"]["permissions"])
    assert {name: replayed[name] for name in LABEL_NAMES} == {name: given[name] for name in LABEL_NAMES}
    assert not set(LABEL_NAMES) & build_input(call_of(facts=FACTS), {}).keys()


def test_a_tunnel_is_seen_by_its_host_and_a_replay_sees_the_same():
    call = call_of(operation=TUNNEL, provider=None, facts=None, upstream="git.example.org", method="CONNECT")
    call.path = "git.example.org:443"
    given = build_input(call, {})
    assert (given["operation"], given["action"]) == ("tunnel", "CONNECT")
    assert (given["upstream"], given["target"], given["path"]) == ("git.example.org", *["git.example.org:443"] * 2)
    assert not {"model", "provider", "mcp_server", "tool_name"} & given.keys()
    assert recorded_input(event_of(call), lambda _: given["agent"]["permissions"]) == given
