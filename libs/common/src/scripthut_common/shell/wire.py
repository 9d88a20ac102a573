r"""One command line for any login shell, and the frame that tells the program's answer from everything around it. Pure.

The login shell (sh, bash, zsh, csh, fish…) sees only single-quoted printable ASCII without quote, backslash and
`!`; all else travels as `\0ooo` and is decoded by /bin/sh. Standard output then reads

    <noise of the login shell> <marker> \n <output of the program> <marker> \s 000 \n

with the program's own exit status at the end. Only an end marker at the very end counts, so that a file that
happens to hold the marker cannot end an answer.
"""

from scripthut_common.errors import LimitExceeded

MAX_COMMAND_BYTES = 128 * 1024 - 1
_NOISE_LIMIT_BYTES = 1024 * 1024

# Runs in /bin/sh as: marker, program, arguments, all but the marker encoded. Must hold no quote, `!` or newline itself.
# The underscore keeps `$(…)` from eating trailing newlines.
_FRAME = (
    'm=$1; p=$(printf %b "$2"); shift 2; '
    'for a do shift; a=$(printf %b_ "$a"); set -- "$@" "${a%_}"; done; '
    'printf "%s\\n" "$m"; printf "%s\\n" "$m" >&2; '
    '(eval "$p"); printf "%s %03d\\n" "$m" $?'
)
# The same for an account of which we know only the name: nothing runs as one that is no person's.
_GUARD = (
    'u=$(id -u); [ "$u" -ge 1000 ] && [ "$u" != 65534 ] || { echo "scripthut: uid $u is no person" >&2; exit 77; }; '
)
_SAFE = frozenset(range(0x20, 0x7F)) - frozenset(b"'!\\")
_ENCODED = [chr(byte) if byte in _SAFE else f"\\0{byte:03o}" for byte in range(256)]


def command_line(text: str, argv: tuple[str, ...], marker: str, *, is_guarded: bool = False) -> str:
    r"""Write one line that runs `text` with `argv` under any login shell; guarded, only as an account of a person.

    Raises:
        LimitExceeded: longer than Linux takes for one argument; variable parts belong on standard input.
    """
    words = " ".join(f"'{_encode(word)}'" for word in (text, *argv))
    line = f"exec /bin/sh -c '{_GUARD if is_guarded else ''}{_FRAME}' scripthut {marker} {words}"
    if len(line) > MAX_COMMAND_BYTES:
        raise LimitExceeded(
            f"a command line of {len(line)} bytes; at most {MAX_COMMAND_BYTES}: send variable parts on standard input"
        )
    return line


def _encode(word: str) -> str:
    return "".join(_ENCODED[byte] for byte in word.encode("utf-8", "surrogateescape"))


class Decoder:
    """Takes standard output piece by piece and gives back the program's part of it.

    Holds back only what may be the beginning of the end marker: a program that stalls has said all that it wrote.
    """

    def __init__(self, marker: str) -> None:
        self._start = f"{marker}\n".encode("ascii")
        self._end = f"{marker} ".encode("ascii")
        self._end_length = len(self._end) + len(b"000\n")
        self._held = b""
        self._noise_bytes = 0
        self._has_started = False

    @property
    def has_started(self) -> bool:
        """Whether the program's own output has begun."""
        return self._has_started

    @property
    def noise_bytes(self) -> int:
        """How much came before the program's own output."""
        return self._noise_bytes

    @property
    def held(self) -> bytes:
        """What is held back: a piece of the end marker, or, before the start, the last of the noise."""
        return self._held

    def feed(self, piece: bytes) -> bytes:
        """Take the next piece; return what surely is output of the program.

        Raises:
            LimitExceeded: the login shell talks without end before the program begins.
        """
        self._held += piece
        if not self._has_started:
            self._skip_noise()
            if not self._has_started:
                return b""
        sure = self._sure_bytes()
        output, self._held = self._held[:sure], self._held[sure:]
        return output

    def finish(self) -> int | None:
        """Return the program's exit status, or `None` when the answer is cut."""
        if not self._has_started or not self._held.startswith(self._end) or not self._held.endswith(b"\n"):
            return None
        digits = self._held[len(self._end) : -1]
        return int(digits) if len(digits) == 3 and digits.isdigit() else None

    def _sure_bytes(self) -> int:
        """How much of what is held cannot be a piece of the end marker, however the stream goes on."""
        at = self._held.find(self._end[:1], max(len(self._held) - self._end_length, 0))
        while at >= 0:
            if self._end.startswith(self._held[at : at + len(self._end)]):
                return at
            at = self._held.find(self._end[:1], at + 1)
        return len(self._held)

    def _skip_noise(self) -> None:
        before, found, after = self._held.partition(self._start)
        if found:
            self._has_started, self._held = True, after
            self._noise_bytes += len(before)
            return
        kept = max(len(self._start) - 1, 400)
        self._noise_bytes += max(len(before) - kept, 0)
        self._held = before[-kept:]
        if self._noise_bytes > _NOISE_LIMIT_BYTES:
            raise LimitExceeded(f"the login shell printed more than {_NOISE_LIMIT_BYTES} bytes before the program")


def without_noise(stderr: bytes, marker: str) -> bytes:
    """Drop what the login shell wrote to standard error before the program began."""
    before, found, after = stderr.partition(f"{marker}\n".encode("ascii"))
    return after if found else before


def noise_bytes(stderr: bytes, marker: str) -> int:
    """Count what `without_noise` drops."""
    return max(stderr.find(f"{marker}\n".encode("ascii")), 0)
