"""Programs on this machine that answer calls, by the Agent Client Protocol: https://agentclientprotocol.com.

`connection` is the protocol without I/O, `conversation` and `responses` the formats on the other side, `process` and
`pool` start and end programs, and `bridge` listens for Wirekey's own calls. `steps` prepares these calls, and `service`
follows the configuration.
"""

from __future__ import annotations

from wirekey.feature import Feature, Later


def parts() -> tuple[object, ...]:
    """Return what local programs add to the core."""
    from wirekey.config.feature_settings import AddedSettings
    from wirekey.config.terms import TermsOfUse
    from wirekey.features.local_programs.config import LocalProgramSetting
    from wirekey.features.local_programs.steps import LocalProgramSteps
    from wirekey.server.feature_parts import AddedBackends, EventLoopPart, ReloadedService

    service = f"{__name__}.service"
    return (
        AddedSettings({"backends": LocalProgramSetting}),
        TermsOfUse(Later(service, "terms")),
        ReloadedService(Later(service, "LocalPrograms.prepare")),
        AddedBackends(Later(service, "backends")),
        EventLoopPart(Later(service, "listen"), Later(service, "end")),
        LocalProgramSteps(),
    )


FEATURE = Feature("local_programs", parts)
