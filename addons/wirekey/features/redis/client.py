"""Reads a URL of Redis, which names a server alone, with Sentinel, or a cluster, and connects to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CONNECT_LIMIT = 2.0
"""Seconds for a connection."""
PREFIX = "{wirekey}:"
"""With the hash tag of Redis, so that all keys are in one slot of a cluster, and a script may use any of them."""


def client_of(url: str) -> Any:
    """Return a client for a URL. It connects when it is first used. Raises ImportError without the package `redis`."""
    import redis.asyncio as client
    from redis.asyncio.retry import Retry
    from redis.asyncio.sentinel import Sentinel
    from redis.backoff import NoBackoff

    options: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_LIMIT,
        "socket_timeout": None,  # replies are awaited by the reader of a connection, also for hours
        "socket_keepalive": True,
        "protocol": 2,  # no messages of the server between the replies
        "retry": Retry(NoBackoff(), 0),
    }
    parts = urlsplit(url)
    if is_cluster(url):
        nodes = [client.cluster.ClusterNode(host, port) for host, port in addresses(place_of(url), 6379)]
        options.pop("retry")
        return client.RedisCluster(startup_nodes=nodes, **user_of(url), **tls_of(url), **options)
    if parts.scheme.endswith("+sentinel"):
        name = parts.path.strip("/") or "mymaster"
        sentinel = Sentinel(  # type: ignore[no-untyped-call]
            addresses(place_of(url), 26379), sentinel_kwargs={"socket_connect_timeout": CONNECT_LIMIT, **tls_of(url)}
        )
        return sentinel.master_for(name, **user_of(url), **tls_of(url), **options)
    return client.Redis.from_url(url, **options)


def connector_of(client: Any, url: str) -> Callable[[], Awaitable[Any]]:
    """Return a function that returns a new connection to the server which has the keys of Wirekey at present."""

    async def connect() -> Any:
        made = await of_cluster(client) if is_cluster(url) else client.connection_pool.make_connection()
        await made.connect()
        return made

    return connect


async def of_cluster(client: Any) -> Any:
    """Return a connection, not connected yet, to the node of a cluster that has the keys. The list of nodes is new."""
    try:
        await client.nodes_manager.initialize()
        node = client.get_node_from_key(PREFIX)
        return node.connection_class(**node.connection_kwargs)
    finally:
        for nodes in ("nodes_cache", "startup_nodes"):
            await client.nodes_manager.aclose(nodes)


def message_clients_of(url: str) -> tuple[Any, ...]:
    """Return a client for each node that the URL of a cluster names, as a message reaches all nodes; otherwise none."""
    if not is_cluster(url):
        return ()
    import redis.asyncio as client

    options = {**user_of(url), **tls_of(url), "socket_connect_timeout": CONNECT_LIMIT, "socket_keepalive": True}
    return tuple(client.Redis(host=host, port=port, **options) for host, port in addresses(place_of(url), 6379))


def place_of(url: str) -> str:
    """Return the hosts of a URL, without user and password."""
    return urlsplit(url).netloc.rpartition("@")[2]


def is_cluster(url: str) -> bool:
    """Return whether a URL names nodes of a cluster."""
    return urlsplit(url).scheme.endswith("+cluster")


def tls_of(url: str) -> dict[str, Any]:
    """Return the settings for TLS of a URL with Sentinel or a cluster; empty without TLS. Others are read by redis."""
    parts = urlsplit(url)
    if not parts.scheme.startswith("rediss"):
        return {}
    trusted = dict(parse_qsl(parts.query)).get("ssl_ca_certs")
    return {"ssl": True, "ssl_ca_certs": trusted} if trusted else {"ssl": True}


def user_of(url: str) -> dict[str, Any]:
    """Return the user and the password of a URL, decoded."""
    parts = urlsplit(url)
    user, password = (unquote(part) if part else None for part in (parts.username, parts.password))
    return {"username": user, "password": password}


def addresses(hosts: str, port: int) -> list[tuple[str, int]]:
    """Return (host, port) for each entry of HOST:PORT,HOST:PORT. `port`: for entries without one."""
    found = []
    for entry in hosts.split(","):
        host, _, number = entry.rpartition(":") if ":" in entry else (entry, "", str(port))
        found.append((host.strip("[]"), int(number)))
    return found
