"""The state that several machines share on a Redis or Valkey server: the setting `shared_state`.

`state` implements the core's `SharedState` with the scripts in `scripts`, whose responses `replies` reads. `transport`
sends them on the connections of `connection`, and `breaker` stops it while the server does not respond. `losses` and
`loss_scripts` notice that the server has lost budgets, and restore them. `client` reads the URL.
"""

from __future__ import annotations

from wirekey.feature import Feature


def parts() -> tuple[object, ...]:
    """Return what Redis adds to the core."""
    from wirekey.config.feature_settings import TOP, AddedSettings
    from wirekey.features.redis.config import SharedStateSetting, state_of
    from wirekey.server.shared_state import SharedStateServer

    return (
        AddedSettings({TOP: SharedStateSetting}, fixed_at_start=("shared_state",)),
        SharedStateServer(state_of),
    )


FEATURE = Feature("redis", parts)
