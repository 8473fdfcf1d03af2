"""Try all techniques of the red team: python -m tests.redteam [--family NAME] [--write]

It runs in a network namespace of its own, in which only the loopback interface exists, if the system permits one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from tests.redteam.ground import INSIDE, ground
from tests.redteam.library import ALL
from tests.redteam.listeners import PRIVATE
from tests.redteam.page import PAGE, page, row

SETUP = """
set -e
ip link set lo up
for address in {addresses}; do ip address add $address dev lo 2>/dev/null || true; done
ip route add local 93.184.216.0/24 dev lo
mount --bind "$RESOLVER" /etc/resolv.conf
exec "$0" -m tests.redteam "$@"
"""
"""Makes a network in which the addresses of techniques lead to this machine, and questions to the resolver."""


def main(arguments: list[str] | None = None) -> int:
    """Print a row for each technique that is not held, and a count. Return 1 if one is not held and not known."""
    parser = argparse.ArgumentParser(prog="python -m tests.redteam", description="Try to get the provider's key.")
    parser.add_argument("--family", help="only this family")
    parser.add_argument("--write", action="store_true", help="write docs/redteam.md")
    options = parser.parse_args(arguments)
    if os.geteuid():
        parser.error("needs root, to become another user")
    with tempfile.TemporaryDirectory() as folder, ground(Path(folder)) as place:
        Path(folder).chmod(0o711)  # only the modes of Wirekey's own files protect them
        results = [
            place.try_(number, technique)
            for number, technique in enumerate(ALL, 1)
            if options.family in (None, technique.family) and place.can_try(technique)
        ]
        leaks = place.leaks()
    lost = [result for result in results if not result.held]
    print("\n".join([*map(row, lost), *leaks]))
    place_of_run = "in a network namespace" if os.environ.get(INSIDE) else "WITHOUT a network namespace"
    unknown = sum(not result.expected for result in lost)
    print(f"{len(results)} techniques, {len(lost)} not held, {unknown} of them not known, {place_of_run}.", end=" ")
    print(f"{len(leaks)} files with a key.")
    if options.write:
        PAGE.write_text(page(results, leaks, datetime.now(UTC).date().isoformat(), commit()))
    return 1 if unknown or leaks else 0


def commit() -> str:
    """Return the commit of the tree."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=PAGE.parent, capture_output=True, text=True, check=False).stdout.strip()


def inside() -> int:
    """Run this command in a network namespace, or here if the system permits none."""
    if os.environ.get(INSIDE) or subprocess.run(["unshare", "-n", "-m", "true"], check=False).returncode:
        return main()
    with tempfile.NamedTemporaryFile("w") as resolver:
        resolver.write("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        resolver.flush()
        Path(resolver.name).chmod(0o644)
        return subprocess.run(
            [
                "unshare",
                "-n",
                "-m",
                "sh",
                "-c",
                SETUP.format(addresses=" ".join(PRIVATE)),
                sys.executable,
                *sys.argv[1:],
            ],
            env=os.environ | {INSIDE: "1", "RESOLVER": resolver.name},
            check=False,
        ).returncode


if __name__ == "__main__":
    sys.exit(inside())
