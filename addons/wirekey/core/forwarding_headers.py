"""The headers that reverse proxies, load balancers, content networks and tunnels add to what they forward.

Names are folded: lower case, with `-` between words.
"""

from __future__ import annotations

FORWARDING_HEADERS = frozenset(
    {
        "forwarded",
        "via",
        "client-ip",
        "x-client-ip",
        "x-real-ip",
        "x-remote-ip",
        "x-remote-addr",
        "x-originating-ip",
        "x-cluster-client-ip",
        "x-proxyuser-ip",
        "x-host",
        "x-original-for",
        "x-original-forwarded-for",
        "x-original-host",
        "x-original-proto",
        "x-original-url",
        "x-rewrite-url",
        "x-scheme",
        "x-url-scheme",
        "front-end-https",
        "true-client-ip",
        "proxy-client-ip",
        "wl-proxy-client-ip",
        "cdn-loop",
        "ali-cdn-real-ip",
        "do-connecting-ip",
        "fastly-client-ip",
        "fastly-client",
        "incap-client-ip",
        "x-sucuri-clientip",
        "x-nf-client-connection-ip",
        "x-nf-account-id",
        "x-appengine-user-ip",
        "x-appengine-remote-addr",
        "x-azure-clientip",
        "x-azure-socketip",
        "x-azure-fdid",
        "x-arr-ssl",
        "x-arr-log-id",
        "x-amz-cf-id",
        "x-gfe-request-trace",
        "x-tunnel-id",
    }
)

FORWARDING_PREFIXES = (
    "x-forwarded-",
    "cf-",  # Cloudflare
    "cloudfront-",
    "fly-",
    "x-envoy-",
    "x-vercel-",
    "tailscale-",
    "ngrok-",
)


def is_forwarding_header(folded: str) -> bool:
    """Return whether a header of this folded name shows that a reverse proxy forwarded the request."""
    return folded in FORWARDING_HEADERS or f"{folded}-".startswith(FORWARDING_PREFIXES)
