"""Quotas: how many requests, tokens and dollars the calls of an agent, a role, a model or everybody may use.

`definition` has a quota, which `configured` makes of its entry in `config`. `usage_limits` is what the core calls at
each step of a call. It estimates the largest use of an attempt (`holds`, `estimate`), which `enforcement` reserves in
the shared state and settles when the attempt has ended. `ledger` keeps what this machine has spent. If the shared state
has lost budgets, `restoring` restores them. `thresholds` warns of totals that are nearly used up, and `notifying` sends
these warnings to a receiver. `raises` has the temporary raises of limits. `usage` is what policies, the live page and
metrics see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.feature import AddedCommand, Feature

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    import click

    from wirekey.cli.program_limits import LimitedProgram, ProgramRequest
    from wirekey.core.addons.base import Addon
    from wirekey.core.addons.order import AddonOrder
    from wirekey.core.calls.services import Services
    from wirekey.core.calls.usage_limits import UsageLimits


def parts() -> tuple[object, ...]:
    """Return what quotas add to the core."""
    from wirekey.cli.program_limits import ProgramLimits
    from wirekey.config.feature_settings import TOP, AddedSettings
    from wirekey.core.addons.order import AddedAddon
    from wirekey.core.calls.feature_values import ConfiguredValue
    from wirekey.core.calls.service_parts import AddedUsageLimits
    from wirekey.features.quotas.config import QuotasSetting
    from wirekey.features.quotas.configured import configured_quotas

    return (
        AddedSettings({TOP: QuotasSetting}),
        ConfiguredValue(configured_quotas),
        AddedUsageLimits(make_limits),
        AddedAddon("Routing", make_addon),
        ProgramLimits(options_of_exec, begin_run),
    )


def make_limits(services: Services) -> UsageLimits:
    """Return the limits of what calls use."""
    from wirekey.features.quotas.usage_limits import QuotaLimits

    return QuotaLimits(services)


def make_addon(services: Services, _: AddonOrder) -> Addon:
    """Return the addon: do its quotas allow the call; what may it use of them, at the price of the model sent."""
    from wirekey.features.quotas.addon import Quotas

    return Quotas(services)


def options_of_exec() -> Sequence[click.Parameter]:
    """Return the options of `exec` that limit what its program uses."""
    from wirekey.features.quotas.runs.program import options

    return options()


def begin_run(request: ProgramRequest, options: Mapping[str, Any]) -> LimitedProgram | None:
    """Start a run for the program of `exec`, if an option asks for one."""
    from wirekey.features.quotas.runs.program import begin

    return begin(request, options)


HELP = "Show what is spent of each budget, and by each agent."
HELP_QUOTAS = "Show the quotas, and raise their limits for some time."
HELP_RUNS = "Start, show, extend and stop runs: programs with a budget."
FEATURE = Feature(
    "quotas",
    parts,
    (
        AddedCommand("usage", HELP, f"{__name__}.command"),
        AddedCommand("quotas", HELP_QUOTAS, f"{__name__}.raises.command"),
        AddedCommand("runs", HELP_RUNS, f"{__name__}.runs.command"),
    ),
)
