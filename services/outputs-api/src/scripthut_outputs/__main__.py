"""`python -m scripthut_outputs`, where the program `scripthut-outputs` is not in PATH."""

from .commands import console

console()
