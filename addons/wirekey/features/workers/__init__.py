"""Several processes that share the listeners: the setting `workers`, and the option of `wirekey serve`.

`serving` is what the command does before and after they run. `supervisor` starts, replaces and ends the workers,
`connection` is the other end, in each of them. They accept from the sockets of `listeners`. `count` decides how many
`auto` are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wirekey.feature import Feature

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import click

    from wirekey.cli.serving import ServeRequest


def parts() -> tuple[object, ...]:
    """Return what workers add to the core."""
    from wirekey.cli.serving import Serving
    from wirekey.config.feature_settings import TOP, AddedSettings
    from wirekey.features.workers.config import WorkersSetting

    return AddedSettings({TOP: WorkersSetting}, fixed_at_start=("workers",)), Serving(options, run)


def options() -> Sequence[click.Parameter]:
    """Return the options of `wirekey serve`."""
    from wirekey.features.workers import serving

    return serving.options()


def run(request: ServeRequest, values: Mapping[str, Any]) -> int:
    """Run `wirekey serve`."""
    from wirekey.features.workers import serving

    return serving.run(request, values)


FEATURE = Feature("workers", parts)
