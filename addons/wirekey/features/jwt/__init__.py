"""JSON Web Tokens of agents: verifies those of trusted issuers, and issues tokens for client credentials."""

from __future__ import annotations

from wirekey.feature import Feature, Later

KIND = "jwt"
"""The kind of these credentials among those that workers share."""


def parts() -> tuple[object, ...]:
    """Return what JWTs add to the core."""
    from wirekey.config.feature_settings import IDENTITY_LABELS, AddedSettings
    from wirekey.core.calls.credential_kinds import TokenKind
    from wirekey.core.calls.state_sharing import CredentialKind
    from wirekey.core.identity.tokens import looks_like_jwt
    from wirekey.features.jwt.config import JWTSetting, LabelClaims
    from wirekey.server.feature_parts import AddedEndpoints, RegularCheck, ReloadedService

    service = f"{__name__}.service"
    return (
        AddedSettings({"identity": JWTSetting, IDENTITY_LABELS: LabelClaims}),
        ReloadedService(Later(service, "TokenService.prepare")),
        RegularCheck(Later(service, "keep_fresh")),
        TokenKind(looks_like_jwt, Later(service, "identify")),
        CredentialKind(KIND, Later(service, "restored_token")),
        AddedEndpoints(Later(service, "routes"), Later(service, "paths_in_use")),
    )


FEATURE = Feature("jwt", parts)
