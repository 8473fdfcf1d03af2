"""Wirekey as mitmproxy addons: mitmdump -s addons/bundle.py.

The way of a call through the house is the list in `wirekey.stations.flow_order`.
"""

from wirekey.stations.flow_order import stations
from wirekey.stations.house import House

addons = list(stations(House()))
