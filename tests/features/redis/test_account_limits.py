"""The limits of Google accounts that processes share, with the state on a server."""

from tests.features.google_accounts.test_account_limits import *  # noqa: F403
