"""The features, each in a folder of its own. `feature_registry.py` has their names; nothing else imports them.

A feature imports the core, and no other feature. Without its folder, everything else works.
"""
