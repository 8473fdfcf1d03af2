"""Change the code of a package in small ways, and list the changes that no test notices.

python -m tests.mutation --package core/credentials [--sample N] [--seed S]
"""

from __future__ import annotations

import argparse
import ast
import importlib
import random
import re
import sys
from collections import defaultdict
from pathlib import Path

from tests.mutation.mutants import Mutant, mutants, mutated
from tests.mutation.trial import ALL_PASSED, lines_of_tests, outcome

CHECKOUT = Path(__file__).parents[2]
ADDONS = CHECKOUT / "addons"
STARTS_PROCESSES = re.compile(
    r"\b(Wirekey|SimulatorThread|wirekey_behind|serving|wirekey|multiprocessing\.\w+)\(|subprocess"
)
SLOW = (
    "end_to_end",
    "endurance",
    "browser",
    "clients",
    "promises",
    "packaging",
    "threats",
    "docs",
    "fuzz",
    "benchmarks",
)
MOST_TESTS = 400
"""Tests that a mutant must pass to survive. The fastest are chosen."""
IMPORTED_BEFORE = ("mitmproxy.http", "hypothesis", "cryptography.x509", "botocore.session", "httpx", "h2", "psycopg")


def tests_of(package: str) -> list[str]:
    """Return the files of tests that import a package, and start no process in which it would be unchanged."""
    name = re.compile(rf"\bwirekey\.{re.escape(package.replace('/', '.'))}\b")
    found = []
    for file in sorted((CHECKOUT / "tests").rglob("test_*.py")):
        relative, text = file.relative_to(CHECKOUT), file.read_text()
        if relative.parts[1] not in SLOW and name.search(text) and not STARTS_PROCESSES.search(text):
            found.append(str(relative))
    return found


def main() -> int:
    """Print the survivors and a count. Return 1 if there are any."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--package", required=True, help="a folder below addons/wirekey, such as core/credentials")
    parser.add_argument("--sample", type=int, default=100, help="how many mutants to try")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for module in IMPORTED_BEFORE:
        importlib.import_module(module)
    sys.path[:0] = [str(ADDONS), str(CHECKOUT)]
    folder = ADDONS / "wirekey" / options.package
    everything = [(path, mutant) for path in sorted(folder.rglob("*.py")) for mutant in mutants(path.read_text())]
    chosen = random.Random(options.seed).sample(everything, min(options.sample, len(everything)))
    files = tests_of(options.package)
    found = lines_of_tests(files, folder)
    run_by = defaultdict(list)
    for test, (seconds, lines) in found.items():
        for path, line in lines:
            run_by[path, line].append((seconds, test))
    print(f"{len(everything)} mutants, {len(found)} tests in {len(files)} files", flush=True)
    survivors, not_run = [], 0
    for path, mutant in sorted(chosen, key=lambda each: (each[0], each[1].line)):
        tests = tests_that_run(path, mutant, run_by)
        if not tests:
            not_run += 1
        elif outcome([test for _, test in tests], *changed(path, mutant), limit(tests)) != ALL_PASSED:
            continue
        place = f"{path.relative_to(ADDONS / 'wirekey')}:{mutant.line}"
        survivors.append(f"{place}: {mutant.change}{'' if tests else ' (no test runs this)'}")
        print(survivors[-1], flush=True)
    print(f"{len(chosen)} tried, {len(survivors)} survived, {not_run} of them in lines that no test runs")
    return 1 if survivors else 0


def tests_that_run(path: Path, mutant: Mutant, run_by: dict) -> list[tuple[float, str]]:
    """Return the fastest tests that run the line of a mutant, or all that run the module if it runs on import."""
    if tests := run_by.get((str(path), mutant.line)):
        return sorted(tests)[:MOST_TESTS]
    source = path.read_text()
    if any(first <= mutant.line <= last for first, last in function_lines(source)):
        return []
    return sorted({each for (file, _), tests in run_by.items() if file == str(path) for each in tests})[:MOST_TESTS]


def function_lines(source: str) -> list[tuple[int, int]]:
    """Return the first and the last line of each function's body."""
    functions = (
        each for each in ast.walk(ast.parse(source)) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return [(each.body[0].lineno, each.end_lineno or 0) for each in functions]


def changed(path: Path, mutant: Mutant) -> tuple[str, Path, str]:
    """Return the module of a mutant, its file, and its source."""
    module = ".".join(path.relative_to(ADDONS).with_suffix("").parts).removesuffix(".__init__")
    return module, path, mutated(path.read_text(), mutant.site)


def limit(tests: list[tuple[float, str]]) -> float:
    """Return the seconds after which a mutant hangs."""
    return 20 + 5 * sum(seconds for seconds, _ in tests)


if __name__ == "__main__":
    sys.exit(main())
