"""Programs on this machine that answer calls, by the Agent Client Protocol: https://agentclientprotocol.com.

`connection` is the protocol without I/O, `conversation` and `responses` the formats on the other side, `process` and
`pool` start and end programs, and `bridge` listens for Wirekey's own calls. `steps` prepares these calls, and `service`
follows the configuration.
"""

from __future__ import annotations

from wirekey.feature import Feature


def parts() -> tuple[object, ...]:
    """Return what local programs add to the core."""
    from wirekey.config.feature_settings import AddedSettings
    from wirekey.config.terms import TermsOfUse
    from wirekey.features.local_programs.config import LocalProgramSetting
    from wirekey.features.local_programs.service import LocalPrograms, backends, end, listen, terms
    from wirekey.features.local_programs.steps import LocalProgramSteps
    from wirekey.server.feature_parts import AddedBackends, EventLoopPart, ReloadedService

    return (
        AddedSettings({"backends": LocalProgramSetting}),
        TermsOfUse(terms),
        ReloadedService(LocalPrograms.prepare),
        AddedBackends(backends),
        EventLoopPart(listen, end),
        LocalProgramSteps(),
    )


FEATURE = Feature("local_programs", parts)
