"""Programs on this machine that answer calls, by the Agent Client Protocol."""

from __future__ import annotations

from wirekey.feature import Feature


def parts() -> tuple[object, ...]:
    """Return what this feature adds to the core."""
    from wirekey.calls.local_program import LocalProgramSteps

    return (LocalProgramSteps(),)


FEATURE = Feature("local_programs", parts)
