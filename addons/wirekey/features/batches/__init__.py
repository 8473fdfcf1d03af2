"""Batches: what their requests have cost, charged to the agent that made them, when their results are read.

`addon` reads the responses of calls about batches as they pass, with the readers of `reading`. Its maker is in a
`record`, which `store` keeps until its results are read, in the state folder and in the state that several machines
share. `spending` adds up what the results have used, and `settling` charges and records it once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.feature import Feature

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.core.addons.base import Addon
    from wirekey.core.addons.order import AddonOrder
    from wirekey.core.calls.services import Services


def parts() -> tuple[object, ...]:
    """Return what batches add to the core."""
    from wirekey.core.addons.order import AddedAddon
    from wirekey.server.feature_parts import OpenedService

    return OpenedService(open_store), AddedAddon("Retry", make_addon)


def open_store(config: Config, services: Services) -> object:
    """Return what remembers batches."""
    from wirekey.features.batches.store import FILE, BatchStore

    return BatchStore(config.state / FILE, lambda: services.shared_state)


def make_addon(services: Services, _: AddonOrder) -> Addon:
    """Return the addon: which batches were made, and what have their results cost."""
    from wirekey.features.batches.addon import Batches

    return Batches(services)


FEATURE = Feature("batches", parts)
