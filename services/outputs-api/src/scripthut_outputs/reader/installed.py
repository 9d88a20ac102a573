"""The reader as a site installs it for a service that may read as owners and run nothing else. Pure.

What `deploy/read-as-owner` runs is written by `scripthut-outputs reader-program`. It says first which version it is:
the records of two versions need not be the same.
"""

from functools import cache
from hashlib import sha256

from scripthut_common.errors import BadOutput

from . import program_text

SH = 'exec env LC_ALL=C sudo -n -H -u "$1" -- "$2" "$3" "$4" "$5"'
_GREETING = "scripthut reader"
_MAX_GREETING_BYTES = 100
_INSTALLED = """# The reader of ScriptHut's outputs service, version {version}, by `scripthut-outputs reader-program`.
# Install it as root beside read-as-owner, as reader.py.
{text}
os.write(1, b"{greeting} {version}\\n")
main()
"""


@cache
def version() -> str:
    """Which version of the reader this service speaks with."""
    return sha256(program_text(follows=True).encode()).hexdigest()[:12]


def installed_text() -> str:
    """What is to be installed on the cluster."""
    text = program_text(follows=True).removesuffix("main()\n").rstrip()
    return _INSTALLED.format(version=version(), text=text, greeting=_GREETING)


class Greeted:
    """Takes an answer that begins with the version of the reader.

    Args:
        program: where it is installed, for people.
    """

    is_lacking = False

    def __init__(self, program: str) -> None:
        self._program = program
        self._begin = b""
        self.has_begun = False

    def feed(self, piece: bytes) -> bytes:
        """Take the next piece.

        Raises:
            BadOutput: it is not our version of the reader.
        """
        if self.has_begun:
            return piece
        greeting, newline, rest = (self._begin + piece).partition(b"\n")
        if not newline and len(greeting) <= _MAX_GREETING_BYTES:
            self._begin = greeting
            return b""
        self.has_begun = True
        if greeting != f"{_GREETING} {version()}".encode():
            raise BadOutput(self._explain(greeting))
        return rest

    def _explain(self, greeting: bytes) -> str:
        name, _, theirs = greeting[:_MAX_GREETING_BYTES].decode("ascii", "replace").rpartition(" ")
        said = f"is version {theirs}" if name == _GREETING and theirs.isalnum() else "does not say which version it is"
        return (
            f"the reader that {self._program} runs {said}; this service speaks with version {version()}: write what "
            "`scripthut-outputs reader-program` prints to reader.py beside it"
        )
