"""The CA that clients trust: good for the provider hosts and the gateway on this machine, and nothing else."""
