"""Readers of answers as they pass, and what they cost."""

# The providers' readers build on the modules here, and these on the providers' protocol: whichever is asked for
# first, the providers are loaded first.
import wirekey.providers  # noqa: F401  # for the order alone
