"""The policy in policies/: its own tests hold, and it knows every operation that the providers' modules know."""

import re
from dataclasses import replace

import msgspec
import pytest

from tests.docs.pages import CHECKOUT
from tests.policy.policies import LISTING, WHOLE
from wirekey.operation import Kind
from wirekey.policy.engine import EmbeddedEngine
from wirekey.policy.modules import read_modules
from wirekey.policy.own_tests import failed_tests
from wirekey.policy.rego import Rego
from wirekey.providers.anthropic import requests as anthropic
from wirekey.providers.bedrock import requests as bedrock
from wirekey.providers.gemini import requests as gemini
from wirekey.providers.openai import requests as openai

FOLDER = CHECKOUT / "policies"
TESTS = re.findall(r"^(test_\w+) if", (FOLDER / "wirekey_test.rego").read_text(), re.MULTILINE)


def known():
    """All operations of the providers, by kind."""
    found = {kind: set() for kind in Kind}
    for routes in (openai.ROUTES, anthropic.ROUTES, gemini._ROUTES):
        patterns = [operation for entries in routes.patterns.values() for _, operation in entries]
        for operation in [*routes.fixed.values(), *patterns]:
            found[operation.kind].add(operation.name)
    found[Kind.INFERENCE] |= {*gemini.ACTIONS, *bedrock.ACTIONS}
    return found


@pytest.fixture(scope="module")
def policy():
    return Rego(read_modules(FOLDER), "data.wirekey.authz")


def test_there_are_tests_to_run():
    assert len(TESTS) >= 5


def test_the_tests_of_the_policy_hold():
    assert failed_tests(read_modules(FOLDER), "data.wirekey.authz") == []


@pytest.mark.parametrize("name", TESTS)
def test_an_inverted_test_of_the_policy_fails(name):
    modules = read_modules(FOLDER)
    (file, text) = next(iter(modules.tests.items()))
    turned = text.replace(f"{name} if {{", f"{name} if {{ false")
    assert turned != text
    found = failed_tests(replace(modules, tests={file: turned}), "data.wirekey.authz")
    assert [problem.message for problem in found] == [f"the test {name} fails"]


@pytest.mark.parametrize("kind", Kind)
def test_each_known_operation_is_in_the_list_of_its_kind(kind):
    asking = f"package asking\n\ndeny := data.wirekey.operations.{kind.value}\n"
    modules = read_modules(FOLDER)
    rego = Rego(replace(modules, rego=modules.rego | {"asking.rego": asking}), "data.asking")
    assert set(msgspec.json.decode(rego.evaluate(b"{}"))["deny"]) == known()[kind]


def allowed(policy, operation, action, role=None, permissions=("web:read", "web:write")):
    call = WHOLE | {"operation": operation, "method": action}
    call["agent"] = {"id": "a", "permissions": list(permissions)} | ({"role": role} if role else {})
    document = msgspec.json.decode(policy.evaluate(msgspec.json.encode(call)))
    return document["allow"] and document["deny"] == []


def test_every_operation_is_decided_by_its_kind(policy):
    for kind, names in known().items():
        for name in names:
            action = "GET" if kind is Kind.LISTING else "POST"
            assert allowed(policy, name, action) is (kind is not Kind.STORAGE), name
            assert allowed(policy, name, action, role="storage"), name
            assert not allowed(policy, name, action, role="storage", permissions=()), name
            assert allowed(policy, name, action, permissions=["web:read"]) is (kind is Kind.LISTING), name


@pytest.mark.parametrize("name", ["organization.users", "realtime", "websocket", "unknown", "", "chat.completions "])
def test_C10_what_has_no_rule_is_denied_for_everybody(policy, name):
    for role in (None, "storage", "admin"):
        assert not allowed(policy, name, "POST", role)


async def test_the_default_policy_is_evaluated_on_the_event_loop_and_denies_with_a_reason():
    engine = EmbeddedEngine(FOLDER, "data.wirekey.authz", 60.0)
    assert engine._loaded.in_process
    assert (await engine.decide(WHOLE)).allow
    assert (await engine.decide(LISTING)).allow
    assert not (await engine.decide(WHOLE | {"operation": "files.list"})).allow
    engine.close()
