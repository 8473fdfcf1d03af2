"""Each case of the policy cookbook decides as the page says, and has nothing in it that there is not."""

import re

import pytest
from ruamel.yaml import YAML

from tests.docs.pages import blocks_of, text_of
from tests.support.policies import WHOLE
from wirekey.core.policy.decision import NOT_ALLOWED
from wirekey.core.policy.engine import EmbeddedEngine
from wirekey.core.policy.lint import lint
from wirekey.core.policy.modules import read_modules
from wirekey.core.policy.rego import Rego

PAGE = "docs/guides/policy-cookbook.md"
QUERY = "data.wirekey.authz"


def cases():
    """Return (title, policy, data files, calls) for each recipe."""
    found = []
    for block in blocks_of(PAGE):
        if block.language == "rego":
            title = re.findall(r"^## (.*)$", "\n".join(text_of(PAGE).split("\n")[: block.line]), re.MULTILINE)[-1]
            found.append((title, block.text, {}, []))
        elif block.language == "yaml" and "data" in block.about:
            found[-1][2][block.about["data"]] = block.text
        elif block.language == "yaml":
            found[-1][3].extend(YAML(typ="safe").load(block.text))
    return found


CASES = cases()


def test_there_are_eleven_cases_each_with_an_allowed_call_and_all_but_caps_and_other_models_with_a_denied_one():
    assert len(CASES) == 11
    for title, _, _, calls in CASES:
        assert len(calls) >= 2, title
        assert any(call["decision"] == "allow" for call in calls), title
        assert any(call["decision"] != "allow" or {"max_tokens", "model_used"} & call.keys() for call in calls), title


@pytest.mark.parametrize(("title", "policy", "data", "calls"), CASES, ids=[case[0] for case in CASES])
async def test_the_case_decides_as_the_page_says(tmp_path, title, policy, data, calls):
    (tmp_path / "policy.rego").write_text(policy)
    for folder, text in data.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "data.yaml").write_text(text)
    assert not [str(problem) for problem in lint(Rego(read_modules(tmp_path), QUERY).syntax, QUERY)]
    engine = EmbeddedEngine(tmp_path, QUERY, 60.0)
    for call in calls:
        expected = {key: call.pop(key, None) for key in ("decision", "max_tokens", "model_used")}
        given = {name: value for name, value in (WHOLE | call).items() if value is not None}  # null: absent
        decision = await engine.decide(given)
        assert decision.failure is None
        said = (
            "allow" if decision.allow else "deny" if decision.reasons == (NOT_ALLOWED,) else " ".join(decision.reasons)
        )
        assert {"decision": said, "max_tokens": decision.max_tokens, "model_used": decision.model} == expected
    engine.close()
