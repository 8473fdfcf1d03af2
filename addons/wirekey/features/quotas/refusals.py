"""The refusals of calls for which a quota is exhausted. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from wirekey.core.command_name import COMMAND
from wirekey.core.errors import INSUFFICIENT_QUOTA, Fault, Refusal
from wirekey.features.quotas.definition import NANODOLLARS
from wirekey.features.quotas.limit_names import TOTALS, is_money

if TYPE_CHECKING:
    from wirekey.core.shared_state import BudgetLevel
    from wirekey.features.quotas.definition import Applied, Quota
    from wirekey.features.quotas.limit_names import LimitName
    from wirekey.features.quotas.limits import BudgetLimit, RateLimit

BUSY_SECONDS = 1
"""Retry-After of a refusal that ends when an open call ends."""
UNPRICED_IN_A_RUN = "Use a model with a price, or a run without --budget"
RUN_EXAMPLES = {"usd": "5", "calls": "100", "tokens": "1M"}
"""Limit of a run → an amount by which it may be extended."""
UNITS = {"requests_per_minute": "requests", "tokens_per_minute": "tokens"}


def over_rate(limit: RateLimit, retry_after: float) -> Refusal:
    """Return the refusal of a call that a limit per minute does not allow now."""
    seconds = max(1, math.ceil(retry_after))
    return Refusal(
        429,
        "rate_limit_exceeded",
        f"The quota {limit.applied.quota.name} allows {limit.rate.limit} {UNITS[limit.name]} a minute"
        f"{limit.applied.words}. Retry in {seconds} s.",
        retry_after=seconds,
    )


def over_budget(limit: BudgetLimit, level: BudgetLevel) -> Refusal:
    """Return the refusal of a call for which a budget, or a number of calls at the same time, has no room."""
    applied = limit.applied
    if applied.quota.per == "run":
        return run_exhausted(limit, level)
    name = f"The quota {applied.quota.name}"
    if limit.period is None:
        return Refusal(
            429,
            "rate_limit_exceeded",
            f"{name} allows {limit.limit} calls at the same time{applied.words}. Retry when one has ended.",
            retry_after=BUSY_SECONDS,
        )
    allowance = allowance_of(limit)
    if level.spent < limit.limit:
        return Refusal(
            429,
            "rate_limit_exceeded",
            f"{name} allows {allowance}, and open calls have reserved what is left. Retry when they have ended, "
            "or set a lower limit of output tokens, which is what a call reserves.",
            retry_after=BUSY_SECONDS,
        )
    following = ""
    if limit.period.last is not None:
        following = (
            f" The next {TOTALS[limit.name].window} begins at {applied.quota.calendar.local_time(limit.period.last)}."
        )
    return Refusal(429, "insufficient_quota", f"{name} is used up: {allowance}.{following} Ask the operator for more.")


def allowance_of(limit: BudgetLimit) -> str:
    """Return the limit of a total in words, with its window and its subject."""
    window = TOTALS[limit.name].window
    period = "in total" if window == "lifetime" else f"an {window}" if window == "hour" else f"a {window}"
    return f"{amount_in_words(limit.name, limit.limit)} {period}{limit.applied.words}"


def run_exhausted(limit: BudgetLimit, level: BudgetLevel) -> Refusal:
    """Return the refusal of a call for which a limit of its run has no room."""
    run = limit.applied.subject
    spent, most = amount_in_words(limit.name, level.spent), amount_in_words(limit.name, limit.limit)
    if level.spent < limit.limit:
        return Refusal(
            429,
            "rate_limit_exceeded",
            f"The run {run} has used {spent} of {most}, and its open calls have reserved what is left. Retry when they "
            "have ended, or set a lower limit of output tokens, which is what a call reserves.",
            retry_after=BUSY_SECONDS,
        )
    return Refusal(429, "insufficient_quota", f"The run {run} has used {spent} of {most}. {extension_of(limit)}")


def extension_of(limit: BudgetLimit) -> str:
    """Return the sentence with the command that extends a limit of a run."""
    option = "budget" if limit.name == "usd" else limit.name
    return f"To extend it: {COMMAND} runs extend {limit.applied.subject} --{option} +{RUN_EXAMPLES[limit.name]}"


def reached_in_stream(limit: BudgetLimit) -> Refusal:
    """Return the refusal that ends a stream, as a limit was reached while it was written."""
    applied = limit.applied
    if applied.quota.per == "run":
        reached = f"The run {applied.subject} has reached its limit of {amount_in_words(limit.name, limit.limit)}"
        fix = extension_of(limit)
    else:
        reached = f"The quota {applied.quota.name} is used up, or reserved by open calls: {allowance_of(limit)}"
        fix = "Ask the operator for more."
    return Refusal(
        429, INSUFFICIENT_QUOTA, f"{reached}. Wirekey ended this response before the model had ended it. {fix}"
    )


def amount_in_words(name: LimitName, amount: int) -> str:
    """Return an amount of a total in words: dollars, calls, requests or tokens."""
    return dollars(amount) if is_money(name) else counted(amount, name.partition("_")[0])


def counted(amount: int, nouns: str) -> str:
    """Return a number with its noun, such as `1 call` for 1 and `calls`."""
    return f"{amount:,} {nouns[:-1] if amount == 1 else nouns}"


def over_time(quota: Quota) -> Refusal:
    """Return the refusal of a call whose run has no time left."""
    assert quota.ends is not None
    return Refusal(
        429,
        "insufficient_quota",
        f"The time of the {quota.title} was over at {quota.calendar.local_time(quota.ends)}. "
        f"To extend it: {COMMAND} runs extend {quota.name} --for +30m",
    )


def unpriced(applied: Applied, model: str | None) -> Refusal:
    """Return the refusal of a call whose cost cannot be known."""
    which = f"The model {model[:64]!r}" if model else "This call"
    allowing = "The operator allows such calls with on_unknown_price: allow in it"
    return Refusal(
        403,
        "unknown_price",
        f"{which} has no list price, or the request names another model, a tier or a tool without one. The "
        f"{applied.quota.title} limits dollars. {UNPRICED_IN_A_RUN if applied.quota.per == 'run' else allowing}.",
        Fault.OPERATOR,
    )


def unavailable() -> Refusal:
    """Return the refusal of a call whose budget cannot be checked."""
    return Refusal(
        503,
        "quota_unavailable",
        "The budget of this call could not be checked, so it was not sent. Retry later.",
        Fault.WIREKEY,
        retry_after=BUSY_SECONDS,
    )


def unavailable_in_stream() -> Refusal:
    """Return the refusal that ends a stream whose budget cannot be checked."""
    return Refusal(
        503,
        "quota_unavailable",
        "The budget of this call could not be checked while its response was written, so Wirekey ended it. "
        "Retry later.",
        Fault.WIREKEY,
        retry_after=BUSY_SECONDS,
    )


def dollars(amount: int) -> str:
    """Return an amount in billionths of a dollar as text, such as `$0.50`."""
    value = amount / NANODOLLARS
    return f"${value:.2f}" if value >= 0.01 or not amount else f"${value:.9f}".rstrip("0")
