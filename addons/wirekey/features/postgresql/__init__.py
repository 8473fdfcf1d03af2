"""PostgreSQL: one audit log and the same agents on several machines.

`database` is the audit log as the core knows it: `writer` stores events with the statements of `rows`,
`reading` reads them, `pruning` deletes them. `spool` keeps events in a file while the server is unreachable. `rollup`
keeps hourly sums for `totals`. `claim` gives each process a chain of its own, `delivery` makes one process
deliver events to audit sinks, and `schema` has the tables. `agents` are
the agents, and `agents_following` copies them to each machine. `connection` connects for all of them.
"""

from __future__ import annotations

from wirekey.feature import Feature


def parts() -> tuple[object, ...]:
    """Return what PostgreSQL adds to the core."""
    from wirekey.config.feature_settings import TOP, AddedSettings
    from wirekey.features.postgresql.config import AgentsSetting, DatabaseSettings
    from wirekey.features.postgresql.configured import (
        agents_database,
        agents_follower,
        audit_database,
        secret_variables,
    )
    from wirekey.server.database_server import DatabaseServer

    return (
        AddedSettings({TOP: AgentsSetting, "audit": DatabaseSettings}, fixed_at_start=("agents",)),
        DatabaseServer(audit_database, agents_database, agents_follower, secret_variables),
    )


FEATURE = Feature("postgresql", parts)
