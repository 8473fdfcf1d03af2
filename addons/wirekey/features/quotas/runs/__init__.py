"""Runs: a budget, a number of calls or tokens, and a time for one program and all that it starts.

The core stores runs and identifies them by their tokens (`core/identity/runs.py`). Here a run becomes a quota, whose
limits come from its record instead of the configuration. So calls reserve and settle its totals as those of quotas.
"""
