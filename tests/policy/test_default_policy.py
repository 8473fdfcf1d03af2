"""The policy in policies/: its own tests hold, and it knows every operation that the providers' modules know."""

import re
from dataclasses import replace

import msgspec
import pytest

from tests.docs.pages import CHECKOUT
from tests.support.policies import LISTING, WHOLE
from wirekey.core.operation import Kind
from wirekey.core.policy.engine import EmbeddedEngine
from wirekey.core.policy.modules import read_modules
from wirekey.core.policy.rego import Rego, failed_tests
from wirekey.providers.anthropic import requests as anthropic
from wirekey.providers.bedrock import services as bedrock
from wirekey.providers.gemini import requests as gemini
from wirekey.providers.openai import requests as openai

FOLDER = CHECKOUT / "policies"
TESTS = re.findall(r"^(test_\w+) if", (FOLDER / "wirekey_test.rego").read_text(), re.MULTILINE)


TABLES = {
    "openai": openai.ROUTES,
    "gemini": gemini.ROUTES,
    "anthropic": anthropic.ROUTES,
    "bedrock": bedrock.ROUTES,
}


def known():
    """All operations of the providers."""
    return {(operation.name, operation.kind) for table in TABLES.values() for operation in table}


@pytest.fixture(scope="module")
def policy():
    return Rego(read_modules(FOLDER), "data.wirekey.authz")


def test_there_are_tests_to_run():
    assert len(TESTS) >= 5


def test_the_tests_of_the_policy_hold():
    assert failed_tests(read_modules(FOLDER)) == []


EDITS = {
    "one model": ("models.rego", 'allowed := {""}', 'allowed := {"gpt-4o-mini"}'),
    "several models": ("models.rego", 'allowed := {""}', 'allowed := {"gpt-4o-mini", "claude-", "small", "large"}'),
    "no model": ("models.rego", 'allowed := {""}', "allowed := set()"),
    "fewer operations": ("operations.rego", '\t"files.create",\n', ""),
    "more operations": ("operations.rego", '\t"files.create",\n', '\t"files.create",\n\t"batches.create",\n'),
}
"""What an operator changes: file, text, new text."""


@pytest.mark.parametrize("edit", EDITS)
def test_the_tests_of_the_policy_hold_whatever_the_operator_lists(edit):
    file, before, after = EDITS[edit]
    modules = read_modules(FOLDER)
    changed = modules.rego[file].replace(before, after)
    assert changed != modules.rego[file]
    assert failed_tests(replace(modules, rego=modules.rego | {file: changed})) == []


@pytest.mark.parametrize("name", TESTS)
def test_an_inverted_test_of_the_policy_fails(name):
    modules = read_modules(FOLDER)
    (file, text) = next(iter(modules.tests.items()))
    turned = text.replace(f"{name} if {{", f"{name} if {{ false")
    assert turned != text
    found = failed_tests(replace(modules, tests={file: turned}))
    assert [problem.message for problem in found] == [f"the test {name} fails"]


def test_the_operations_without_a_model_are_operations_of_a_provider():
    asking = "package asking\n\ndeny := data.wirekey.operations.without_model\n"
    modules = read_modules(FOLDER)
    rego = Rego(replace(modules, rego=modules.rego | {"asking.rego": asking}), "data.asking")
    named = set(msgspec.json.decode(rego.evaluate(b"{}"))["deny"])
    assert len(named) > 20
    assert named <= {name for name, kind in known() if kind is Kind.STORAGE}


def allowed(policy, operation, kind, action, *, role=None, permissions=("web:read", "web:write")):
    call = WHOLE | {"operation": operation, "kind": kind, "method": action}
    call["agent"] = {"id": "a", "permissions": list(permissions)} | ({"role": role} if role else {})
    document = msgspec.json.decode(policy.evaluate(msgspec.json.encode(call)))
    return document["allow"] and document["deny"] == []


def check_kinds(policy, operations):
    """Check that the policy decides these (operation, kind) by their kinds."""
    for name, kind in operations:
        action = "GET" if kind is Kind.LISTING else "POST"
        for_all, stores = kind in (Kind.LISTING, Kind.LOGIN, Kind.INFERENCE), kind is Kind.STORAGE
        assert allowed(policy, name, kind, action) is for_all, name
        assert allowed(policy, name, kind, action, role="storage") is (for_all or stores), name
        assert not allowed(policy, name, kind, action, role="storage", permissions=()), name
        assert allowed(policy, name, kind, action, permissions=["web:read"]) is (kind in (Kind.LISTING, Kind.LOGIN)), (
            name
        )


def test_every_operation_is_decided_by_its_kind(policy):
    assert len(known()) > 600
    check_kinds(policy, known())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("organization.users.list", "administration"),
        ("other", "other"),
        ("websocket", "websocket"),
        ("", ""),
        ("chat.completions", "inference "),
    ],
)
def test_C10_what_has_no_rule_is_denied_for_everybody(policy, name, kind):
    for role in (None, "storage", "admin"):
        assert not allowed(policy, name, kind, "POST", role=role)


async def test_the_default_policy_is_evaluated_on_the_event_loop_and_denies_with_a_reason():
    engine = EmbeddedEngine(FOLDER, "data.wirekey.authz", 60.0)
    assert engine._loaded.in_process
    assert (await engine.decide(WHOLE)).allow
    assert (await engine.decide(LISTING)).allow
    assert not (await engine.decide(WHOLE | {"operation": "files.list", "kind": "storage"})).allow
    engine.close()
