"""Temporary raises of quotas by an operator: their records, the file that keeps them, and the commands.

`exchange` applies them in each process, and passes them on to the other machines that share a state.
"""
