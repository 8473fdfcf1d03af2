"""The addons of one process, and where features have theirs in the order."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.feature_registry import parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wirekey.core.addons.base import Addon
    from wirekey.core.calls.services import Services
    from wirekey.core.endpoints.reply import LocalHandler


class AddonOrder:
    """The addons of one process, in the order in which a call passes them. While they are made, it has those so far."""

    def __init__(self) -> None:
        self.addons: tuple[object, ...] = ()

    def get[A](self, kind: type[A]) -> A:
        """Return the addon of a class."""
        return next(addon for addon in self.addons if isinstance(addon, kind))

    def pages(self) -> dict[str, LocalHandler]:
        """Return the pages of the console that addons serve, by path."""
        from wirekey.core.addons.base import Addon  # mitmproxy, which commands without a proxy do not need

        return {path: page for addon in self.addons if isinstance(addon, Addon) for path, page in addon.pages.items()}


@dataclass(frozen=True, slots=True)
class AddedAddon:
    """The part of a feature that is an addon. `after`: the class of the core's addon behind which it comes.

    `make` gets the order, with the addons before it. Once all are made, it has the others, too.
    """

    after: str
    make: Callable[[Services, AddonOrder], Addon]


def add_with_features(core: Iterable[object], services: Services, order: AddonOrder) -> None:
    """Add the addons of the core to the order, each with the addons of features behind it.

    Raises ValueError if a feature names an addon that the core does not have.
    """
    behind: dict[str, list[AddedAddon]] = defaultdict(list)
    for part in parts(AddedAddon):
        behind[part.after].append(part)
    for addon in core:
        order.addons += (addon,)
        for part in behind.pop(type(addon).__name__, ()):
            order.addons += (part.make(services, order),)
    if behind:
        raise ValueError(f"the core has no addon {', '.join(behind)}, behind which a feature has its own")
