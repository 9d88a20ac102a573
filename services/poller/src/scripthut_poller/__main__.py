"""`python -m scripthut_poller`, where the program `scripthut-poller` is not in PATH."""

from .commands import console

console()
