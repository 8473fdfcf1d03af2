"""The live page: calls, keys, agents and what needs attention, for operators."""
