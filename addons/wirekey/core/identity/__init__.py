"""Agents and how a request proves which one it comes from: tokens, JWTs, AWS key pairs."""
