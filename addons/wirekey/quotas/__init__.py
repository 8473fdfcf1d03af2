"""Quotas: how many requests, tokens and dollars the calls of an agent, a role, a model or everybody may use."""
