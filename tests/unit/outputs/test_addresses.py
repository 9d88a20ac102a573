"""From where a request came: only what a proxy of ours said counts."""

from typing import Any

import pytest

from scripthut_common.errors import SettingsError
from scripthut_outputs.access.addresses import Addresses

PROXY = "10.0.0.7"


def scope(peer: str | None, *forwarded: str) -> dict[str, Any]:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    return {"client": None if peer is None else (peer, 1234), "headers": [(b"host", b"x"), *headers]}


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.1", (), "192.0.2.1"),
        ("192.0.2.1", ("203.0.113.9",), "192.0.2.1"),
        (PROXY, ("203.0.113.9",), "203.0.113.9"),
        (PROXY, ("6.6.6.6, 203.0.113.9",), "203.0.113.9"),
        (PROXY, ("6.6.6.6, 203.0.113.9, 10.0.0.8",), "203.0.113.9"),
        (PROXY, ("6.6.6.6", "203.0.113.9", "10.0.0.8"), "203.0.113.9"),
        (PROXY, ("10.0.0.9, 10.0.0.8",), "10.0.0.9"),
        (PROXY, ("6.6.6.6, nonsense, 10.0.0.8",), "10.0.0.8"),
        (PROXY, ("<script>",), PROXY),
        (PROXY, ("",), PROXY),
        (PROXY, (), PROXY),
        (PROXY, ("203.0.113.9:443",), "203.0.113.9"),
        (PROXY, ("[2001:db8::1]:443",), "2001:db8::1"),
        (PROXY, ("2001:db8::1",), "2001:db8::1"),
        (PROXY, ("1.1.1.1, " * 5000 + "203.0.113.9",), "203.0.113.9"),
        ("::ffff:10.0.0.7", ("203.0.113.9",), "203.0.113.9"),
        (None, ("203.0.113.9",), ""),
        ("a socket", ("203.0.113.9",), "a socket"),
    ],
)
def test_the_last_hop_that_is_no_proxy_of_ours_is_the_sender(
    peer: str | None, forwarded: tuple[str, ...], expected: str
) -> None:
    assert Addresses(["10.0.0.0/8"]).of(scope(peer, *forwarded)) == expected


def test_without_proxies_that_are_trusted_the_peer_is_the_sender() -> None:
    assert Addresses().of(scope("127.0.0.1", "203.0.113.9")) == "127.0.0.1"


def test_what_is_no_network_is_told() -> None:
    with pytest.raises(SettingsError, match=r"trusted_proxies: '10\.0\.0\.1/8'"):
        Addresses(["10.0.0.1/8"])
