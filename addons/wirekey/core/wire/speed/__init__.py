"""The part of the wire layer that is only for speed. Without it, the wire layer does the same, and takes more time.

`overrides.py` lists the replaced names. The rest of `wire/` does not import this package, except `install.py`.
"""
