"""The policies that people have, decided as OPA decides them, in however many files they stand, for any input.

They are the default policy, those of the documentation, and those of the systems that Wirekey replaces.
"""

import itertools
import re
from dataclasses import replace

import pytest
from ruamel.yaml import YAML

from tests.docs.pages import CHECKOUT, blocks_of, page_names
from tests.policy.comparison import disagreements, embedded_answers
from tests.policy.generator.inputs import varied
from tests.policy.shrinking import shrunk
from tests.rego.oracle import Asked
from tests.support.policies import BEHAVRY_GEMINI, BEHAVRY_OPENAI, BEHAVRY_QUERY, GEMINI, LISTING, WHOLE
from wirekey.core.policy.modules import read_modules

MOST_ORDERS = 24
INPUTS = [given for call in (WHOLE, GEMINI, LISTING) for given in varied(call)] + [{}]
SOME_INPUTS = INPUTS[::11]
RULE = re.compile(r"^(?=[a-z#])", re.MULTILINE)


def documented():
    """Yield (name, policy) for each policy of the documentation, with its data."""
    for page in page_names():
        policy = None
        for block in blocks_of(page):
            if block.language == "rego" and block.text.lstrip().startswith("package "):
                if policy:
                    yield policy
                package = re.search(r"^package (\S+)", block.text, re.MULTILINE)[1]
                policy = block.name, Asked({"policy.rego": block.text}, f"data.{package}", [], {})
            elif policy and block.language == "yaml" and "data" in block.about:
                policy[1].data[block.about["data"]] = YAML(typ="safe").load(block.text)
        if policy:
            yield policy


def policies():
    default = read_modules(CHECKOUT / "policies")
    yield "policies/", Asked(default.rego, "data.wirekey.authz", [], default.data)
    yield from documented()
    yield "Behavry, Gemini", Asked({"gemini.rego": BEHAVRY_GEMINI}, BEHAVRY_QUERY, [])
    yield "Behavry, OpenAI", Asked({"openai.rego": BEHAVRY_OPENAI}, BEHAVRY_QUERY, [])
    both = {"gemini.rego": BEHAVRY_GEMINI, "openai.rego": BEHAVRY_OPENAI}
    yield "Behavry, both", Asked(both, BEHAVRY_QUERY, [])


POLICIES = dict(policies())


def parts_of(text):
    """Return the module as modules of one rule each, with its package and imports. A chain of `else` is one rule."""
    head, *rules = split_rules(text)
    return [f"{head}\n{rule}" for rule in rules]


def split_rules(text):
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    head = [line for line in lines if line.startswith(("package ", "import "))]
    rules, depth = [], 0
    for line in lines:
        if line in head or (not depth and not line.strip()):
            continue
        if not depth and not line.startswith("else"):
            rules.append([])
        rules[-1].append(line)
        depth += sum(line.count(each) for each in "{[(") - sum(line.count(each) for each in "}])")
    return "\n".join(head), *("\n".join(rule) for rule in rules)


def orders_of(parts):
    """Yield the parts in every order, or in some of them where there are many."""
    every = itertools.permutations(parts)
    if len(parts) <= 4:
        yield from every
    for turn in range(len(parts) if len(parts) > 4 else 0):
        yield (*parts[turn:], *parts[:turn])
        yield (*reversed(parts[:turn]), *reversed(parts[turn:]))


def split(asked):
    """Yield the policy with each rule in a file of its own, in different orders of the files."""
    parts = [part for text in asked.rego.values() for part in parts_of(text)]
    for order in itertools.islice(orders_of(parts), MOST_ORDERS):
        yield replace(asked, rego={f"{place:02}.rego": part for place, part in enumerate(order)})


def compared(oracle, policies):
    """Return all disagreements over the policies, which must load."""
    found = []
    for asked, opa in oracle.ask_each(policies):
        ours = embedded_answers(asked)
        assert (opa.problem, ours.problem) == (None, None)
        found += disagreements(asked, opa, ours, strict=False)
    return found


def told(found, oracle):
    return f"{len(found)} disagreements, one of them:\n{shrunk(found[0], oracle)}"


def test_there_are_policies_and_inputs_of_each_kind():
    assert sum(name.startswith("docs/guides/policy-cookbook.md") for name in POLICIES) >= 10
    assert any(name.startswith("README.md") for name in POLICIES)
    assert len(INPUTS) > 1000
    assert len(parts_of(POLICIES["policies/"].rego["wirekey.rego"])) == 11


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_decides_as_with_opa_for_any_input(oracle, name):
    found = compared(oracle, [replace(POLICIES[name], inputs=INPUTS)])
    assert not found, told(found, oracle)


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_decides_the_same_with_each_rule_in_a_file_of_its_own(oracle, name):
    asked = replace(POLICIES[name], inputs=SOME_INPUTS)
    found = compared(oracle, split(asked))
    assert not found, told(found, oracle)
