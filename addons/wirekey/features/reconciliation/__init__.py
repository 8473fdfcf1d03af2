"""`wirekey usage reconcile`: compares the audit log with what a provider reports that it was used and billed.

`reports` reads the providers' reports, `fetching` gets them from their APIs, `recorded` reads the audit log, and
`comparison` says what differs and why it may.
"""

from __future__ import annotations

from wirekey.feature import AddedCommand, Feature

HELP = "Compare the recorded calls with a provider's report."
FEATURE = Feature("reconciliation", commands=(AddedCommand("usage reconcile", HELP, f"{__name__}.command"),))
