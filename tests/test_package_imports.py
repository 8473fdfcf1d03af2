"""A package whose __init__ has not run behaves as one whose __init__ has."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from wirekey.core.package_imports import import_on_demand

IN_A_PROCESS = {
    "a module is imported without the package": """
        from mitmproxy.addons import core
        assert core.Core and "flask" not in sys.modules
        import mitmproxy
        assert mitmproxy.addons.core is core
    """,
    "a name of the package runs its __init__": """
        from mitmproxy.addons import core
        from mitmproxy.addons import default_addons
        assert any(type(addon) is core.Core for addon in default_addons()) and "flask" in sys.modules
    """,
    "a module is an attribute of the package": """
        import mitmproxy.addons
        assert mitmproxy.addons.block.Block and "flask" not in sys.modules
    """,
    "an unknown name is an error": """
        import mitmproxy.addons
        assert not hasattr(mitmproxy.addons, "__wrapped__") and not hasattr(mitmproxy.addons, "unknown")
        try:
            from mitmproxy.addons import unknown_too
        except ImportError:
            pass
        else:
            raise AssertionError
    """,
    "a package that is imported already stays": """
        import genai_prices
        import_on_demand("genai_prices")
        assert sys.modules["genai_prices"] is genai_prices and genai_prices.calc_price
    """,
}


@pytest.mark.parametrize("what", IN_A_PROCESS)
def test_a_package_on_demand(what):
    first = "" if "stays" in what else "import_on_demand('mitmproxy.addons')"
    start = f"import sys\nfrom wirekey.core.package_imports import import_on_demand\n{first}"
    code = start + textwrap.dedent(IN_A_PROCESS[what])
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_package_that_is_not_installed_is_reported():
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        import_on_demand("no_such_package")
