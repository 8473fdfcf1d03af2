"""Access tokens of Google: application default credentials, and a cache that replaces a token before it ends."""
