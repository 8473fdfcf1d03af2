"""A process of root without the rights to read the memory of others, as in a container."""

from __future__ import annotations

import ctypes

PR_CAPBSET_DROP = 24
CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_PERFMON = 19, 21, 38
"""Each of them lets a process read the memory of others."""


def without_ptrace() -> None:
    """Give up these rights before another program is executed. Users other than root do not have them."""
    for capability in (CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_PERFMON):
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
