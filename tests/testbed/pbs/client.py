"""What stands behind every client command of the stand-in: hand the words to the server, print what it answers.

Run as `python3 -I -S client.py SOCKET COMMAND ARGUMENT…`; it needs nothing but Python, whoever runs it.
"""

import json
import os
import socket
import sys
from typing import Any

# What the recorded commands say when nobody listens, and their exit statuses.
DOWN = {"qstat": 255}
COULD_NOT = {"qdel": "Couldn't connect to cluster: pbs01"}


def ask(path: str, request: dict[str, Any]) -> dict[str, Any]:
    """Put a request to the server and wait for its answer, for ever if need be."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as answers:
            answer: dict[str, Any] = json.loads(answers.read())
    return answer


def main(path: str, command: str, *words: str) -> int:
    """Run one command."""
    if words == ("--version",):
        print("pbs_version = 23.06.06")
        return 0
    stdin = sys.stdin.buffer.read().decode("utf-8", "surrogateescape") if command == "qsub" else ""
    request = {"command": command, "words": words, "stdin": stdin, "cwd": os.getcwd()}  # noqa: PTH109  no more than -S
    try:
        answer = ask(path, request)
    except (OSError, ValueError):
        said = COULD_NOT.get(command, f"{command}: cannot connect to server pbs01 (errno=15010)")
        print(f"Connection refused\n{said}", file=sys.stderr)
        return DOWN.get(command, 162)
    sys.stdout.buffer.write(answer["stdout"].encode("utf-8", "surrogateescape"))
    sys.stderr.write(answer["stderr"])
    return int(answer["status"])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
