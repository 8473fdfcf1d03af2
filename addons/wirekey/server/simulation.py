"""The embedded simulator, which replaces the providers."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from pathlib import Path

    from wirekey.config import Config
    from wirekey_simulator.server import Simulator


def uses_simulator(config: Config, wanted: bool | None) -> bool:
    """Return whether the simulator replaces the providers. `wanted` None: if there is no key and no configuration."""
    return not (config.has_file or config.has_any_key) if wanted is None else wanted


async def start_simulator(state: Path) -> tuple[Simulator, dict[str, str]]:
    """Start the simulator. Return it, and provider → the key that it accepts, which is new."""
    from wirekey_simulator.server import Simulator

    keys = {name: f"sim-{secrets.token_hex(16)}" for name in PROVIDERS}
    accepted = {name: [key] for name, key in keys.items()}
    simulator = Simulator(certificate_folder=state / "simulator", keys=accepted)
    await simulator.start()
    return simulator, keys
