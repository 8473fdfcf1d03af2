"""How the user of this machine calls the `wirekey` command, for messages."""

from __future__ import annotations

import os

CALLED_FROM = "WIREKEY_CALLED_FROM"
"""Variable in which run.sh, which changes to the checkout, passes the folder in which it was called."""
COMMAND = "./run.sh" if CALLED_FROM in os.environ else "wirekey"
SERVE_COMMAND = "./run.sh" if CALLED_FROM in os.environ else "wirekey serve"
