"""`python -m scripthut_poller`."""

import sys

from .commands import main

sys.exit(main(sys.argv[1:]))
