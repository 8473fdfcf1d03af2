"""The way of a call through the house, as mitmproxy addons.

Use: mitmdump -s addons/bundle.py
"""

from wirekey.stations.audit import Audit
from wirekey.stations.credentials import Credentials
from wirekey.stations.egress import Egress
from wirekey.stations.entrance import Entrance
from wirekey.stations.house import House
from wirekey.stations.identity import Identity
from wirekey.stations.metering import Metering
from wirekey.stations.recognition import Recognition
from wirekey.stations.routing import Routing

house = House()

addons = [
    Entrance(house),
    Egress(house),
    Identity(house),
    Recognition(house),
    Routing(house),
    Credentials(house),
    Metering(house),
    Audit(house),
]
