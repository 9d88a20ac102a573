"""Where a request came from: the peer, or what proxies that we trust say of whom they speak for. Pure."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from scripthut_common.errors import SettingsError

_MAX_HOPS = 20
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

    def of(self, scope: Any) -> str:
        """Give the address of an ASGI request's sender; empty where there is none.

        Every proxy adds at the right whom it had the request from: from there on, the first that is no proxy of ours
        is the sender, and whatever stands before it is their own claim.
        """
        peer = scope.get("client")
        sender = _address(peer[0]) if peer else None
        if sender is None:
            return "" if peer is None else str(peer[0])[:64]
        if self._trusted and self._is_trusted(sender):
            for hop in reversed(_hops(scope["headers"])):
                told = _address(hop)
                if told is None:
                    break
                sender = told
                if not self._is_trusted(told):
                    break
        return str(sender)

    def _is_trusted(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._trusted)


def _hops(headers: Iterable[tuple[bytes, bytes]]) -> Sequence[str]:
    """The addresses of all such headers, in the order in which proxies added them; the last ones only."""
    said = b",".join(value for name, value in headers if name == _FORWARDED_FOR)
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
