"""The form of names and labels of agents that another system knows."""

from __future__ import annotations

import re

AGENT_ID = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
LABEL = re.compile(r"[\x21-\x7e]{1,64}", re.ASCII)
"""Of a role or a type."""
