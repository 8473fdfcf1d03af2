"""Checks budgets by their history: what clients, replicas and the provider saw, while parts of the fleet fail.

`checking` finds violations in a history. `fleet` has three replicas with one Redis, and their faults. `rounds` lets 64
clients spend the budget of a run, and collects the history. More rounds, or one again:
python -m tests.features.quotas.history --rounds 200 --seed 7
"""
