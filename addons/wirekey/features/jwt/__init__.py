"""JSON Web Tokens of agents: verifies those of trusted issuers, and issues tokens for client credentials."""

from __future__ import annotations

from wirekey.feature import Feature


def parts() -> tuple[object, ...]:
    """Return what JWTs add to the core."""
    from wirekey.config.feature_settings import IDENTITY_LABELS, AddedSettings
    from wirekey.core.calls.credential_kinds import TokenKind
    from wirekey.core.calls.state_sharing import CredentialKind
    from wirekey.core.identity.tokens import looks_like_jwt
    from wirekey.features.jwt.config import JWTSetting, LabelClaims
    from wirekey.features.jwt.service import TokenService, identify, keep_fresh, paths_in_use, restored_token, routes
    from wirekey.features.jwt.tokens import JWT
    from wirekey.server.feature_parts import AddedEndpoints, RegularCheck, ReloadedService

    return (
        AddedSettings({"identity": JWTSetting, IDENTITY_LABELS: LabelClaims}),
        ReloadedService(TokenService.prepare),
        RegularCheck(keep_fresh),
        TokenKind(looks_like_jwt, identify),
        CredentialKind(JWT, restored_token),
        AddedEndpoints(lambda services, _: routes(services), paths_in_use),
    )


FEATURE = Feature("jwt", parts)
