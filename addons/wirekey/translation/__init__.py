"""Translates requests and responses between the wire formats of the providers.

Each format is one package that reads and writes one neutral form (`neutral.py`). A pair of formats is the meeting of
two packages, so no code is written for a pair. Everything here is pure: bytes and values in, bytes and values out.
"""
