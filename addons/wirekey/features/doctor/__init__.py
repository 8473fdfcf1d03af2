"""`wirekey doctor`: what is wrong between programs, this machine, Wirekey and the providers, and how to fix it."""

from __future__ import annotations

from wirekey.feature import AddedCommand, Feature

HELP = "Check clients, keys, ports, clock and upstreams, and print fixes."
FEATURE = Feature("doctor", commands=(AddedCommand("doctor", HELP, f"{__name__}.command"),))
