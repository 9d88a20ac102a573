"""Real servers for the tests: each starts on free loopback ports in a directory of its own and leaves nothing behind.

By hand, to explore with: `python -m tests.testbed` (as root on Debian, after `sh tests/testbed/install.sh`).
"""
