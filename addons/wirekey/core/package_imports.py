"""Imports modules of a package without all that the package itself imports.

`mitmproxy.addons` imports 35 addons, and with them Flask and an LDAP client. `genai_prices` imports an HTTP client. A
process that uses only some of their modules needs none of that, which is 20 MB.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType


def import_on_demand(name: str) -> None:
    """Make the modules of a package importable without running its `__init__`.

    The `__init__` runs when the first name is used that is not a module of the package. Programs see no difference.
    Does nothing if the package is imported already. Raises ModuleNotFoundError if it is not installed.
    """
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    module: Any = importlib.util.module_from_spec(spec)
    module.__getattr__ = lambda wanted: find(module, spec, wanted)
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)


def find(module: ModuleType, spec: ModuleSpec, wanted: str) -> object:
    """Return a module of the package, or a name that its `__init__` sets. Raises AttributeError."""
    if wanted.startswith("__"):
        raise AttributeError(f"module {module.__name__!r} has no attribute {wanted!r}", name=wanted)
    full = f"{module.__name__}.{wanted}"
    if importlib.util.find_spec(full):
        return importlib.import_module(full)
    del vars(module)["__getattr__"]
    assert spec.loader
    spec.loader.exec_module(module)
    return getattr(module, wanted)
