"""The setting `policy`, and the policy that comes with Wirekey."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from wirekey.config.group import ConfigGroup
from wirekey.config.values import AbsolutePath, Seconds, Text

INSTALLED_POLICIES = Path(__file__).parents[1] / "shipped_policies"
SHIPPED_POLICIES = INSTALLED_POLICIES if INSTALLED_POLICIES.is_dir() else Path(__file__).parents[3] / "policies"
"""The default policy. The build of the wheel copies the folder of the checkout into the package."""


class PolicyConfig(ConfigGroup):
    """The setting `policy`: the policy and the engine that evaluates it."""

    path: AbsolutePath = Field(default=Path("policies"), description="Folder of the policy files.")
    query: Text = Field(default="data.wirekey.authz", description="Package whose rules decide.")
    timeout: Seconds = Field(
        default=0.25,
        description="Time limit for one decision. When it is exceeded, the call is denied. For the built-in engine it "
        "is processor time, for an OPA server elapsed time.",
    )
