"""The promises, and the tests that prove each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Promise:
    """What Wirekey promises, and its proof.

    The tests count what they try with `record_property(NAME, number)`. `counted` has the names, in the order in which
    they are shown. The numbers of all tests are added up, of names in `largest` the largest counts.
    """

    number: int
    text: str
    tests: tuple[str, ...]
    counted: tuple[str, ...]
    long: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of the long form. Those that are set already stay."""
    largest: frozenset[str] = frozenset()


PROMISES = (
    Promise(
        1,
        "No provider key and no content is in a file, log, flow, dump, page or metric.",
        ("tests/secrecy/test_nothing_leaks.py",),
        ("recorded calls", "canaries", "files and messages searched"),
        {"WIREKEY_SECRECY_CALLS": "25000", "WIREKEY_TEST_SECONDS": "7200"},
        frozenset({"canaries"}),
    ),
    Promise(
        2,
        "Nothing is sent without a record before it.",
        (
            "tests/endurance/test_every_write.py",
            "tests/features/postgresql/test_every_message.py",
            "tests/endurance/test_kill.py",
            "tests/features/postgresql/test_faults.py",
        ),
        ("failed writes", "failed messages", "kills", "requests that the provider saw"),
        {"WIREKEY_KILL_ROUNDS": "100", "WIREKEY_DATABASE_KILL_ROUNDS": "50", "WIREKEY_TEST_SECONDS": "3600"},
    ),
    Promise(
        3,
        "Overspend is bounded.",
        ("tests/features/quotas/history",),
        ("rounds with faults", "calls of sub-agents"),
        {"WIREKEY_HISTORY_ROUNDS": "200", "WIREKEY_TEST_SECONDS": "7200"},
    ),
    Promise(
        4,
        "Each change of the audit log is found.",
        ("tests/audit/test_format.py", "tests/audit/test_verifying.py"),
        ("changes, each found by two verifiers",),
    ),
    Promise(
        5,
        "A revoked agent is refused within two seconds, also in open connections.",
        ("tests/features/redis/test_revoked.py",),
        ("revocations", "connections", "milliseconds to the last accepted call"),
        {"WIREKEY_REVOCATION_ROUNDS": "50"},
        frozenset({"milliseconds to the last accepted call"}),
    ),
    Promise(
        6,
        "What is not translated is not touched.",
        ("tests/untouched",),
        ("calls of SDKs", "generated calls"),
        {"WIREKEY_VARIANTS": "5000", "WIREKEY_TEST_SECONDS": "3600"},
    ),
    Promise(
        7,
        "Memory does not grow.",
        ("tests/endurance/test_memory.py",),
        ("calls", "bytes for each call of the second half", "idle connections", "streams at once"),
        {
            "WIREKEY_MEMORY_CALLS": "10000000",
            "WIREKEY_MEMORY_CONNECTIONS": "10000",
            "WIREKEY_MEMORY_STREAMS": "1000",
            "WIREKEY_MEMORY_CURVE": "docs/promises-memory.csv",
            "WIREKEY_TEST_SECONDS": "86400",
        },
    ),
    Promise(
        8,
        "Parsers do not crash, hang or grow.",
        ("tests/fuzz/test_fuzz.py",),
        ("inputs",),
        {"WIREKEY_FUZZ_SECONDS": "300", "WIREKEY_TEST_SECONDS": "600"},
    ),
    Promise(
        9,
        "The cost is the bill.",
        ("tests/metering/test_bill.py", "tests/features/reconciliation/test_generated_calls.py"),
        ("generated bills", "calls reconciled"),
        {"WIREKEY_BILLS": "10000", "WIREKEY_BILL_ROUNDS": "20", "WIREKEY_TEST_SECONDS": "3600"},
    ),
    Promise(
        10,
        "A release is what the source says.",
        ("tests/packaging/test_wheel.py", "tests/features/version"),
        ("files compared", "locked packages"),
        largest=frozenset({"files compared", "locked packages"}),
    ),
)
