"""Events as a browser's `EventSource` reads them. Pure.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import msgspec

# After so many milliseconds a browser that lost its stream asks again.
RETRY = b"retry: 3000\n\n"
HEARTBEAT = b":\n\n"


def event(name: str, told: object, *, version: int | None = None) -> bytes:
    """Write one event; JSON has no line ends of its own, so what it says cannot end it.

    Args:
        name: its type.
        told: becomes its only line of data.
        version: up to which its receiver has been told everything; `None` while more is to follow.
    """
    place = b"" if version is None else b"id: %d\n" % version
    return b"event: %s\n%sdata: %s\n\n" % (name.encode("ascii"), place, msgspec.json.encode(told))
