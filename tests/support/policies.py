"""Policies for tests: what users of other proxies have, word for word, and inputs to ask them about."""

import msgspec

from wirekey.core.policy.samples import SAMPLES

# An ordinary call names one model.
WHOLE, LISTING, GEMINI = (msgspec.json.decode(sample) | {"other_models": []} for sample in SAMPLES)

BEHAVRY_GEMINI = """\
package behavry.authz
deny if {
    input.mcp_server == "gemini-proxy"
    not startswith(input.model, "gemini-2.0")
    not startswith(input.model, "gemini-1.5")
}
deny if {
    input.mcp_server == "gemini-proxy"
    input.agent_role == "read-only"
}
"""
BEHAVRY_OPENAI = """\
package behavry.authz
deny if {
    input.tool_name == "openai-api"
    input.agent_type == "autonomous"
    not input.model in {"gpt-4o-mini", "gpt-3.5-turbo"}
}
"""
BEHAVRY_QUERY = "data.behavry.authz"

# policy, what is different from a usual call, whether it is allowed.
# OPA takes operands out of a negation: without a model, `not startswith(input.model, …)` does not hold.
BEHAVRY_CALLS = [
    (BEHAVRY_GEMINI, GEMINI | {"model": "gemini-2.0-flash"}, True),
    (BEHAVRY_GEMINI, GEMINI | {"model": "gemini-1.5-pro", "agent_role": "writer"}, True),
    (BEHAVRY_GEMINI, GEMINI | {"model": "gemini-2.5-pro"}, False),
    (BEHAVRY_GEMINI, GEMINI | {"model": "gemini-2.0-flash", "agent_role": "read-only"}, False),
    (BEHAVRY_GEMINI, {k: v for k, v in GEMINI.items() if k != "model"}, True),
    (BEHAVRY_GEMINI, {k: v for k, v in GEMINI.items() if k != "agent_role"} | {"model": "gemini-2.0-flash"}, True),
    (BEHAVRY_GEMINI, WHOLE | {"model": "gpt-4o"}, True),
    (BEHAVRY_OPENAI, WHOLE | {"agent_type": "autonomous", "model": "gpt-4o-mini"}, True),
    (BEHAVRY_OPENAI, WHOLE | {"agent_type": "autonomous", "model": "gpt-4o"}, False),
    (BEHAVRY_OPENAI, WHOLE | {"agent_type": "interactive", "model": "gpt-4o"}, True),
    (BEHAVRY_OPENAI, {k: v for k, v in WHOLE.items() if k != "agent_type"} | {"model": "gpt-4o"}, True),
    (BEHAVRY_OPENAI, {k: v for k, v in WHOLE.items() if k != "model"} | {"agent_type": "autonomous"}, True),
    (BEHAVRY_OPENAI, GEMINI | {"agent_type": "autonomous"}, True),
]


def write(folder, **modules):
    """Write modules: `name="source"` to name.rego."""
    folder.mkdir(exist_ok=True)
    for name, source in modules.items():
        (folder / f"{name}.rego").write_text(source)
    return folder
