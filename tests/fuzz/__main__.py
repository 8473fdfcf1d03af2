"""Fuzz one target with coverage: python -m tests.fuzz TARGET [--runs N] [--seconds N] [--corpus FOLDER]

Atheris (in `fuzz.lock`) draws the inputs from those in `corpora/TARGET` and in FOLDER, where it also writes new
ones. It prints the path of an input that fails.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

CORPORA = Path(__file__).with_name("corpora")


def main() -> None:
    """Instrument Wirekey, and draw inputs until the runs or the seconds are over."""
    with atheris.instrument_imports(include=["wirekey", "wirekey_rego"]):
        from tests.fuzz.targets import TARGETS
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz one target.")
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--runs", type=int, default=-1, help="inputs to try; default: without an end")
    parser.add_argument("--seconds", type=int, default=0, help="0: without an end")
    parser.add_argument("--corpus", type=Path, help="where new inputs are kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kept = options.corpus or Path(folder)
        kept.mkdir(parents=True, exist_ok=True)
        arguments = [f"-runs={options.runs}", f"-max_total_time={options.seconds}", "-timeout=10", "-rss_limit_mb=1024"]
        arguments += [
            f"-artifact_prefix={kept}/",
            "-max_len=4096",
            "-print_final_stats=1",
            str(kept),
            str(CORPORA / options.target),
        ]
        atheris.Setup([sys.argv[0], *arguments], TARGETS[options.target])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
