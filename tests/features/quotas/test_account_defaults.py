"""The default tier of an account is learned from responses, and reserved until every key has shown it (R33)."""

from types import SimpleNamespace

from wirekey.core.credentials.pool import KeyPool, ProviderKey
from wirekey.core.metering.cost import current_prices
from wirekey.core.operation import Facts, Usage
from wirekey.core.secret import Secret
from wirekey.features.quotas.account_defaults import known_defaults, note_defaults
from wirekey.features.quotas.reserved import reserved_prices
from wirekey.providers.registry import PROVIDERS


def pool_of(*labels):
    return KeyPool([ProviderKey(label, Secret("sk-1234567890")) for label in labels])


def served(pool, place, tier, asked=None):
    state = SimpleNamespace(attempt=SimpleNamespace(key=pool.keys[place], pool=pool))
    note_defaults(state, Usage(modifiers=(("service_tier", tier),)), asked)


def reserved(pool):
    prices = current_prices(PROVIDERS["openai"], "gpt-5.5")
    return reserved_prices(prices, Facts(), known_defaults(pool)).input.base / prices.input.base


def test_R33_the_dearest_default_is_reserved_until_each_key_has_shown_its_own():
    pool = pool_of("openai/1", "openai/2")
    assert reserved(pool) == 2.5
    served(pool, 0, "default")
    assert reserved(pool) == 2.5
    served(pool, 1, "default")
    assert reserved(pool) == 1


def test_R33_a_default_that_was_seen_once_is_reserved_from_then_on():
    pool = pool_of("openai/1")
    served(pool, 0, "priority")
    served(pool, 0, "default")
    assert reserved(pool) == 2.5


def test_R33_a_request_that_names_its_tier_shows_no_default():
    pool = pool_of("openai/1")
    served(pool, 0, "default", Facts(modifiers=(("service_tier", "default"),)))
    assert reserved(pool) == 2.5
    served(pool, 0, "default", Facts(modifiers=(("service_tier", "auto"),)))
    assert reserved(pool) == 1


def test_without_keys_of_the_operator_nothing_is_learned():
    assert known_defaults(None) == {}
    assert known_defaults(KeyPool([])) == {}
