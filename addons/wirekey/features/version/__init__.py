"""`wirekey version`: which version this is, and whether the installed files are those of its release."""

from __future__ import annotations

from wirekey.feature import AddedCommand, Feature

HELP = "Show the version, and compare the installed files with the release."
FEATURE = Feature("version", commands=(AddedCommand("version", HELP, f"{__name__}.command"),))
