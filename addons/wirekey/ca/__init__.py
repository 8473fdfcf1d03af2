"""The CA that clients trust: good for the provider hosts and for nothing else."""
