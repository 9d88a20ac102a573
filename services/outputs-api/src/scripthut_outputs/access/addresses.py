"""Where a request came from: the peer, or what proxies that we trust say of whom they speak for. Pure."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from scripthut_common.errors import SettingsError

_MAX_HOPS = 20
_REMEMBERED = 4096
_MAX_REMEMBERED_BYTES = 256
_FORWARDED_FOR = b"x-forwarded-for"


class Addresses:
    """Finds the address of whoever asks.

    Args:
        trusted: networks of proxies whose `X-Forwarded-For` counts, as `10.1.0.0/16` or `127.0.0.1`.

    Raises:
        SettingsError: one of them is no network.
    """

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._trusted = tuple(_network(network) for network in trusted)
        # Asked for with every request: the same peer with the same words is looked up, not read.
        self._known = lru_cache(_REMEMBERED)(self._find)

    def of(self, scope: Any) -> str:
        """Give the address of an ASGI request's sender; empty where there is none.

        Every proxy adds at the right whom it had the request from: from there on, the first that is no proxy of ours
        is the sender, and whatever stands before it is their own claim.
        """
        client = scope.get("client")
        if not client:
            return ""
        said = _said(scope["headers"]) if self._trusted else b""
        find = self._known if len(said) <= _MAX_REMEMBERED_BYTES else self._find
        return find(str(client[0]), said)

    def _find(self, peer: str, said: bytes) -> str:
        sender = _address(peer)
        if sender is None:
            return peer[:64]
        if self._is_trusted(sender):
            for hop in reversed(_hops(said)):
                told = _address(hop)
                if told is None:
                    break
                sender = told
                if not self._is_trusted(told):
                    break
        return str(sender)

    def _is_trusted(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._trusted)


def _said(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """What all such headers say, in the order in which proxies added them."""
    return b",".join([value for name, value in headers if name == _FORWARDED_FOR])


def _hops(said: bytes) -> Sequence[str]:
    """The addresses in it; the last ones only."""
    return [hop.decode("latin-1").strip() for hop in said.rsplit(b",", _MAX_HOPS)[-_MAX_HOPS:]] if said else []


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Read `192.0.2.1`, `192.0.2.1:443`, `2001:db8::1` or `[2001:db8::1]:443`; `None` for anything else."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise SettingsError(f"trusted_proxies: {text!r} is no network: {error}") from error
