"""The audit log: the fields of its events, its store, and how it is read."""
