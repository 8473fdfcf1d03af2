"""The CA that clients trust. It can certify only the provider hosts and the gateway on this machine."""
