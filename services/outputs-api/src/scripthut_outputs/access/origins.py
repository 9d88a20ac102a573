"""Which names a request may address us by, and which pages may make it. Pure."""

from collections.abc import Collection
from urllib.parse import urlsplit


def host_name(host: str) -> str:
    """The name in a `Host` header without its port; an IPv6 address keeps its brackets."""
    if host.startswith("["):
        name, _, rest = host.partition("]")
        return f"{name.lower()}]" if rest[:1] in {"", ":"} else host
    return host.partition(":")[0].lower()


def is_allowed_host(host: str, allowed: Collection[str]) -> bool:
    """Answer whether a `Host` header names us; a page that rebinds its own name to our address does not."""
    return "*" in allowed or host_name(host) in allowed


def is_own_origin(origin: str, host: str) -> bool:
    """Answer whether a page of ours made the request: schemes may differ behind a proxy that ends TLS."""
    try:
        return bool(host) and urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False
