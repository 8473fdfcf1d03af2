"""The reference page of the metrics, made from what is registered: python -m wirekey.observing.reference > FILE."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from wirekey.observing.condition import Condition, ConditionCollector
from wirekey.observing.conventions import OTHER
from wirekey.observing.metrics import LONGEST_NAME, MOST_AGENTS, MOST_FAILURES, MOST_MODELS, NOBODY, CallMetrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

TOP = """\
# The metrics

<!-- Made by `python -m wirekey.observing.reference` from what is registered; change that. -->

At `/metrics` on the console listener, in the text format of Prometheus, for programs of the machine itself. How to read
them, with a dashboard and alert rules, is in the [guide](../guides/metrics.md).

Names that begin with `gen_ai` are those of OpenTelemetry's semantic conventions for generative AI, in the form that
OpenTelemetry gives them for Prometheus, with the bucket boundaries that the conventions advise; so are the labels with
these names. `provider` in the others is the name that configuration and audit use.

| name | type | labels | what it is |
|---|---|---|---|
"""

BOTTOM = f"""
A `histogram` has the series `NAME_bucket`, `NAME_sum` and `NAME_count`. Besides these there are `process_…`: CPU,
memory and files of the process.

## What becomes a label

However many models, agents or errors clients come up with, there are few series:

- a model has a name of its own once a provider has served it; up to {MOST_MODELS} distinct pairs of the model sent and
  the model that the answer names, by provider and operation. All others are `{OTHER}`;
- an agent has one once it has shown who it is; up to {MOST_AGENTS}. All others are `{OTHER}`, and calls without an
  agent `{NOBODY}`;
- `reason` is the code of a refusal ([all of them](../troubleshooting.md#by-status)), never the sentence of a policy;
- `error_type` is such a code, the status that the provider answered, or the call's outcome: the same as `error.type` of
  the call's span; up to {MOST_FAILURES} distinct failures, by provider, operation and model. A client that goes away is
  no error.

Names are printable ASCII of at most {LONGEST_NAME} characters. No prompt, no answer, no path, no address and no key is
ever part of it.
"""


def families() -> Iterator[tuple[Metric, tuple[str, ...]]]:
    """Give each metric of ours, and its labels."""
    registry = CollectorRegistry(auto_describe=True)
    made = CallMetrics(registry)
    labels = {name: metric._labelnames for metric in vars(made).values() if (name := getattr(metric, "_name", ""))}  # noqa: SLF001  # the library says them nowhere else
    for family in registry.collect():
        yield family, labels[family.name]
    collector = ConditionCollector()
    collector.condition = Condition(ca_ends=0.0)
    for family in collector.collect():
        yield family, tuple(getattr(family, "_labelnames", ()))


def page() -> str:
    rows = []
    for family, labels in families():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        named = ", ".join(f"`{label}`" for label in labels)
        rows.append(f"| `{name}` | {family.type} | {named} | {family.documentation} |\n")
    return TOP + "".join(rows) + BOTTOM


if __name__ == "__main__":
    sys.stdout.write(page())
