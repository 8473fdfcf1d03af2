"""Ordinary policies and inputs, made from a seed: what the embedded engine and OPA are compared with."""
