"""Wirekey as mitmproxy addons: mitmdump -s addons/bundle.py.

`wirekey.server.bundle` lists them in the order in which a call passes them.
"""

from wirekey.core.calls.services import Services
from wirekey.server.bundle import addons_in_order

addons = addons_in_order(Services())
