"""Wirekey as mitmproxy addons: mitmdump -s addons/bundle.py.

The way of a call through the house is the list in `wirekey.server.bundle`.
"""

from wirekey.calls.services import Services
from wirekey.server.bundle import addons_in_order

addons = list(addons_in_order(Services()))
