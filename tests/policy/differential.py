"""Compare the embedded engine with OPA on generated policies: `python -m tests.policy.differential --count 100000`.

Every policy has a seed of its own, which is printed with a disagreement: `--only SEED` makes that policy again.
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.policy.comparison import Disagreement, disagreements, embedded_answers
from tests.policy.generator.policies import generated
from tests.policy.shrinking import shrunk
from tests.rego.answers import only_one_failed
from tests.rego.oracle import Oracle, oracle_python

MOST_SHOWN = 5


@dataclass
class Outcome:
    """What a run found. `shown` has the first disagreements, shrunk, with the seeds of their policies."""

    policies: int = 0
    decisions: int = 0
    denied: int = 0
    undecided: int = 0
    failed_for_one: int = 0
    """Inputs for which an evaluation ended in one engine only; see `only_one_failed`."""
    refused: Counter[str] = field(default_factory=Counter)
    """Policies that the embedded engine refuses to load, by the reason."""
    refused_by_both: int = 0
    disagreeing: int = 0
    shown: list[tuple[str, Disagreement]] = field(default_factory=list)

    def __str__(self) -> str:
        reasons = "".join(f"\n  {count} refused: {reason}" for reason, count in self.refused.most_common())
        return (
            f"{self.policies} policies, {self.decisions} decisions ({self.denied} denials, {self.undecided} errors, "
            f"{self.failed_for_one} in one engine only), "
            f"{self.disagreeing} disagreeing policies, {self.refused_by_both} refused by both{reasons}"
        )


def compare(seeds: Iterable[str], oracle: Oracle, progress: Callable[[Outcome], None] | None = None) -> Outcome:
    """Compare the engines on the policies of these seeds."""
    outcome = Outcome()
    made: list[str] = []

    def policies():
        for seed in seeds:
            made.append(seed)
            yield generated(seed)

    for asked, opa in oracle.ask_each(policies()):
        seed = made.pop(0)
        ours = embedded_answers(asked)
        outcome.policies += 1
        if ours.problem is not None:
            outcome.refused_by_both += opa.problem is not None
            if opa.problem is None:
                outcome.refused[reason_of(ours.problem)] += 1
            continue
        outcome.decisions += len(opa.answers)
        outcome.undecided += sum(answer.error is not None for answer in opa.answers)
        outcome.denied += sum(bool((answer.value or {}).get("deny")) for answer in opa.answers)
        outcome.failed_for_one += sum(map(only_one_failed, opa.answers, ours.answers))
        if found := disagreements(asked, opa, ours, strict=False):
            outcome.disagreeing += 1
            if len(outcome.shown) < MOST_SHOWN:
                outcome.shown.append((seed, found[0]))
        if progress:
            progress(outcome)
    outcome.shown = [(seed, shrunk(found, oracle)) for seed, found in outcome.shown]
    return outcome


def reason_of(problem: str) -> str:
    """Return why a policy was refused, without its place."""
    return problem.partition("; ")[0].partition(": ")[2]


def seeds_of(seed: str, count: int) -> Iterable[str]:
    return (f"{seed}-{number}" for number in range(count))


def report(outcome: Outcome) -> str:
    shown = "".join(f"\nseed {seed}:\n{found}" for seed, found in outcome.shown)
    return f"{outcome}\n{shown}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.policy.differential", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="how many policies")
    parser.add_argument("--seed", default=str(random.randrange(10**9)), help="of the run; a random one by default")
    parser.add_argument("--only", help="the seed of one policy, as printed with a disagreement")
    arguments = parser.parse_args()
    python = oracle_python()
    if python is None:
        print("The oracle is not installed. Run .ci/run.", file=sys.stderr)
        return 2
    seeds = [arguments.only] if arguments.only else seeds_of(arguments.seed, arguments.count)
    began = time.monotonic()

    def progress(outcome: Outcome) -> None:
        if outcome.policies % 1000 == 0:
            print(f"{time.monotonic() - began:6.0f} s  {outcome}", flush=True)

    print(f"seed {arguments.only or arguments.seed}", flush=True)
    with Oracle(python) as oracle:
        outcome = compare(seeds, oracle, progress)
    print(report(outcome))
    return 1 if outcome.disagreeing else 0


if __name__ == "__main__":
    sys.exit(main())
