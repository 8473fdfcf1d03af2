"""The master of `wirekey serve` behaves as mitmproxy's, with fewer addons."""

from __future__ import annotations

from mitmproxy import options

from wirekey.server.master import ServeMaster


async def test_changed_options_reach_each_addon_once():
    seen = []

    class CallObserver:
        def configure(self, updated):
            seen.append(set(updated))

    master = ServeMaster(options.Options())
    master.addons.add(CallObserver())
    seen.clear()
    master.options.update(ssl_insecure=True)
    assert seen == [{"ssl_insecure"}]
