"""The usage and cost reports of providers, read from their JSON and CSV. Pure.

- OpenAI, "UsedTokens" and "Costs": https://platform.openai.com/docs/api-reference/usage
- Anthropic, "Usage and Cost Admin API": https://docs.claude.com/en/api/usage-cost-api
- AWS, "Cost and Usage Reports", line item columns, and the CSV of Cost Explorer
- Google Cloud, "Structure of standard data export", as CSV
"""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from wirekey.core.errors import UserError
from wirekey.features.reconciliation.usage import Group, UsedTokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wirekey.features.reconciliation.usage import Used

LARGEST = 256 * 1024 * 1024
"""Bytes of a report that is read. A month of hours, models and keys has far fewer."""
GEMINI = re.compile(r"\bgemini (\d+(?:\.\d+)?) (flash[- ]lite|flash|pro|ultra)\b", re.IGNORECASE)
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
GOOGLE_SERVICES = ("Vertex AI", "Generative Language API", "Gemini API", "Cloud AI Companion API")


class ReportError(UserError):
    """A report cannot be read. The message says which and why."""


def read_report(provider: str, content: bytes, name: str) -> list[Used]:
    """Return what a report says was used. `name`: of the file, for errors. Raises ReportError."""
    if len(content) > LARGEST:
        raise ReportError(f"{name} has more than {LARGEST // 1024 // 1024} MiB. Export a shorter period.")
    try:
        return list(READERS[provider](content))
    except (ReportError, UnicodeDecodeError, msgspec.DecodeError, ValueError, KeyError, TypeError, csv.Error) as error:
        reason = str(error) if isinstance(error, ReportError) else f"{type(error).__name__}: {error}"
        raise ReportError(
            f"{name} is not a report of {provider} that Wirekey knows: {reason}. {EXPECTED[provider]}"
        ) from None


def pages_of(content: bytes) -> Iterator[Mapping[str, Any]]:
    """Yield the pages of a JSON report: one document, a list of them, or one in each line."""
    try:
        found = msgspec.json.decode(content)
    except msgspec.DecodeError:
        found = [msgspec.json.decode(line) for line in content.splitlines() if line.strip()]
    if not found:
        raise ReportError("it is empty")
    yield from found if isinstance(found, list) else [found]


def openai(content: bytes) -> Iterator[Used]:
    """Yield the results of `/v1/organization/costs` and `/v1/organization/usage/…`."""
    for page in pages_of(content):
        for bucket in page["data"]:
            day = f"{datetime.fromtimestamp(bucket['start_time'], UTC):%Y-%m-%d}"
            for result in bucket["results"]:
                if result["object"] == "organization.costs.result":
                    model = (result.get("line_item") or "").partition(",")[0]
                    cost = dollars(result["amount"]["value"], result["amount"]["currency"])
                    yield Group(day, model, result.get("api_key_id") or ""), UsedTokens(cost_usd=cost)
                elif result["object"].startswith("organization.usage."):
                    group = Group(day, result.get("model") or "", result.get("api_key_id") or "")
                    yield (
                        group,
                        UsedTokens(
                            result.get("input_tokens"),
                            result.get("output_tokens"),
                            requests=result.get("num_model_requests"),
                        ),
                    )
                else:
                    raise ReportError(f"it has a result of the unknown kind {result['object']!r}")


def anthropic(content: bytes) -> Iterator[Used]:
    """Yield the results of `usage_report/messages` and `cost_report`. Costs are in cents, as texts."""
    for page in pages_of(content):
        for bucket in page["data"]:
            day = bucket["starting_at"][:10]
            for result in bucket["results"]:
                group = Group(day, result.get("model") or "", result.get("api_key_id") or "")
                if "amount" in result:
                    yield group, UsedTokens(cost_usd=dollars(float(result["amount"]) / 100, result["currency"]))
                    continue
                written = result.get("cache_creation") or {}
                parts = (result["uncached_input_tokens"], result.get("cache_read_input_tokens"), *written.values())
                yield group, UsedTokens(sum(part or 0 for part in parts), result["output_tokens"])


def aws(content: bytes) -> Iterator[Used]:
    """Yield the costs of Bedrock by day: of a Cost and Usage Report (both versions), or of Cost Explorer's CSV."""
    rows = rows_of(content)
    names = rows.fieldnames or []
    if any(name.lower() in ("lineitem/unblendedcost", "line_item_unblended_cost") for name in names):
        for row in rows:
            of = {name.lower().replace("/", "_").replace("lineitem", "line_item"): value for name, value in row.items()}
            begin = of.get("line_item_usage_start_date") or of["line_item_usagestartdate"]
            cost = of.get("line_item_unblended_cost") or of["line_item_unblendedcost"]
            if "bedrock" in " ".join(map(str, of.values())).lower():
                yield Group(day_in(begin)), UsedTokens(cost_usd=float(cost))
        return
    columns = [name for name in names[1:] if "bedrock" in name.lower()]
    if not columns:
        raise ReportError("it has no column for Bedrock, and no unblended cost")
    for row in rows:
        if DAY.match(row[names[0]] or ""):
            yield Group(day_in(row[names[0]])), UsedTokens(cost_usd=sum(float(row[name] or 0) for name in columns))


def google(content: bytes) -> Iterator[Used]:
    """Yield the costs of Gemini and Vertex AI by day and model, from a CSV of the billing export."""
    for row in rows_of(content):
        of = {name.strip().lower().replace(" ", "_").replace(".", "_"): value for name, value in row.items() if name}
        if of["service_description"] not in GOOGLE_SERVICES:
            continue
        found = GEMINI.search(of["sku_description"])
        model = f"gemini-{found[1]}-{found[2].lower().replace(' ', '-')}" if found else ""
        currency = of.get("currency") or "USD"
        yield Group(day_in(of["usage_start_time"]), model), UsedTokens(cost_usd=dollars(float(of["cost"]), currency))


def rows_of(content: bytes) -> csv.DictReader[str]:
    """Return the rows of a CSV by the names in its first line."""
    return csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))


def day_in(text: str) -> str:
    """Return the day at the beginning of a time. Raises ReportError."""
    if not (found := DAY.match(text)):
        raise ReportError(f"{text!r} is no time")
    return found[0]


def dollars(value: float, currency: str) -> float:
    """Return an amount. Raises ReportError if it is in another currency: Wirekey has prices in dollars only."""
    if currency.upper() != "USD":
        raise ReportError(f"it is in {currency.upper()}, and Wirekey counts in USD")
    return float(value)


READERS = {"openai": openai, "anthropic": anthropic, "bedrock": aws, "gemini": google}
"""Provider → reader of its reports."""
EXPECTED = {
    "openai": "Save the JSON of /v1/organization/costs or /v1/organization/usage/completions.",
    "anthropic": "Save the JSON of /v1/organizations/cost_report or /v1/organizations/usage_report/messages.",
    "bedrock": "Export a Cost and Usage Report or the daily costs of Cost Explorer as CSV.",
    "gemini": "Export the table of the standard billing export from BigQuery as CSV.",
}
"""Provider → what its report may be, for the error."""
