"""Finds what is wrong between programs, this machine, Wirekey and the providers, and how to fix it."""
