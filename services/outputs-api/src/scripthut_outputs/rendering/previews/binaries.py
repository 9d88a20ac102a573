"""Show what no preview knows: its size, what its first bytes say that it is, its hash, those bytes. Pure."""

from .asking import Asked
from .choosing import DUMP_BYTES
from .pieces import note, safe

_BYTES_A_LINE = 16


def show(content: bytes, asked: Asked) -> str:
    """Show facts and the first bytes in hexadecimal."""
    kind = asked.choice.magic or "binary data of a kind that is not known here"
    facts = (("Kind", kind), ("Size", f"{asked.size_bytes:,} bytes"), ("SHA-256", asked.sha256))
    terms = "".join(f"<div><dt>{term}</dt><dd>{safe(value)}</dd></div>" for term, value in facts)
    shown = content[:DUMP_BYTES]
    caption = f"The first {len(shown)} bytes" if len(shown) < asked.size_bytes else "All of its bytes"
    return (
        f'<dl class="properties">{terms}</dl><p class="preview-facts">{caption}</p>'
        f'<pre class="dump" tabindex="0" role="group" aria-label="{caption}">{safe(dump(shown))}</pre>'
    )


def show_empty(_content: bytes, _asked: Asked) -> str:
    """Say that there is nothing."""
    return note("This file is empty.")


def dump(content: bytes) -> str:
    r"""Write bytes as `00000010  89 50 4e 47  |.PNG|`."""
    lines = []
    for start in range(0, len(content), _BYTES_A_LINE):
        row = content[start : start + _BYTES_A_LINE]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        lines.append(f"{start:08x}  {row.hex(' '):<{3 * _BYTES_A_LINE}} |{text}|")
    return "\n".join(lines)
