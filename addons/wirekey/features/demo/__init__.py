"""`wirekey demo`: a complete round with the simulator. `program` is what it runs through the proxy."""

from __future__ import annotations

from wirekey.feature import AddedCommand, Feature

HELP = "Run a complete round: simulator, proxy, SDK calls, audit."
FEATURE = Feature("demo", commands=(AddedCommand("demo", HELP, f"{__name__}.command"),))
