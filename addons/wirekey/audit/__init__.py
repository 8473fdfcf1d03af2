"""The record of calls: its fields, its store, and how it is read."""
