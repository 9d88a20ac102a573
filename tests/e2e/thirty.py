"""A run of thirty tasks that does what runs do: plots, tables, failures, dependencies, and hostile names."""

import hashlib
import os
import pwd
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from scripthut_common.events import Outcome
from tests.testbed.accounts import ALICE

PLOTS = ("zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu")
"""Submitted in this order, which is not that of the alphabet."""

HOSTILE_NAMES = (
    b"with space.txt",
    b'it\'s "quoted".txt',
    b"new\nline.txt",
    b"invalid-\xff\xfe.bin",
    b"-rf",
    "😀 plot.png".encode(),
    b"$(touch pwned).txt",
    b"`touch pwned`",
    b"100%25 #1?.md",
    b"back\\slash\ttab",
    b"*",
    b"..dots",
)
PLAIN_WORD = "as it was written"
TOO_LARGE_BYTES = 11 * 1024 * 1024

_PAINT = """\
import os, struct, sys, zlib

def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

def row(y):
    return b"\\0" + b"".join(color if (x // 20 + y // 20) % 2 else os.urandom(3) for x in range(160))

path, color = sys.argv[1], bytes.fromhex(sys.argv[2])
header = chunk(b"IHDR", struct.pack(">IIBBBBB", 160, 100, 8, 2, 0, 0, 0))
pixels = chunk(b"IDAT", zlib.compress(b"".join(map(row, range(100)))))
os.makedirs(os.path.dirname(path), exist_ok=True)
with open(path, "wb") as file:
    file.write(b"\\x89PNG\\r\\n\\x1a\\n" + header + pixels + chunk(b"IEND", b""))
"""
_PLOT = """\
python3 "$PAINT" "$SCRIPTHUT_OUTPUT_DIR/plots/residuals.png" {color}
python3 "$PAINT" "$SCRIPTHUT_OUTPUT_DIR/plots/error #1.png" {color}
printf 'step,residual\\n1,0.5\\n2,0.25\\n' > "$SCRIPTHUT_OUTPUT_DIR/table.csv"
{{ echo "# Residuals of {name}"; echo
  echo '| step | residual |'; echo '|---|--:|'; echo '| 1 | 0.5 |'; echo '| 2 | 0.25 |'; echo
  echo '![residuals](plots/residuals.png)'; echo; echo '![errors](plots/error%20%231.png)'
}} > "$SCRIPTHUT_TASK_SUMMARY"
{{ echo "{name} converged after 2 steps."; echo; echo '![residuals](plots/residuals.png)'; echo
  echo '<img src="plots/error%20%231.png" alt="errors">'; }} >> "$SCRIPTHUT_RUN_SUMMARY"
"""
_NAMES = """\
cd "$SCRIPTHUT_OUTPUT_DIR"
python3 -c 'import os; [open(name, "wb").write(b"in " + name) for name in os.fsencode(os.environ["NAMES"]).split(b"|")]'
python3 "$PAINT" "./😀 plot.png" c08080
python3 -c 'import os; open(b"invalid-\\xff\\xfe.bin", "wb").write(b"in invalid")'
"""


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """How a task must end. `exit_code` is `None` where any will do, as for tasks that were ended."""

    outcome: Outcome = Outcome.SUCCEEDED
    exit_code: int | None = 0
    is_executed: bool = True


class Thirty:
    """The run in a folder of its owner, where the tasks leave what proves that they ran.

    Attributes:
        document: for `POST /runs`.
        expected: how each task must end, by id, in submission order.
        log_dir: where outputs and logs go.
    """

    def __init__(self, folder: Path, *, pace_s: float = 0.0, **fields: Any) -> None:
        """Prepare the folder.

        Args:
            folder: of alice; made here.
            pace_s: how long each task takes at least.
            fields: more of the run document.
        """
        self._folder = folder
        self._pace_s = pace_s
        self._tasks: list[dict[str, Any]] = []
        self.expected: dict[str, Expected] = {}
        self.canary = folder / "canary"
        self.log_dir = folder / "scripthut"
        self.hostile_dir = folder / 'it\'s $(touch pwned)\n"here" 😀'
        for made in (folder, self.canary, self.hostile_dir):
            made.mkdir()
            os.chown(made, pwd.getpwnam(ALICE).pw_uid, pwd.getpwnam(ALICE).pw_gid)
        (folder / "paint.py").write_text(_PAINT)
        (folder / "paint.py").chmod(0o644)
        self._fill()
        assert len(self._tasks) == 30
        self.document = {
            "name": f"thirty $(touch {self.canary}/run) \"tasks'",
            "cluster": "testbed",
            "log_dir": str(self.log_dir),
            "tasks": self._tasks,
        } | fields

    @property
    def executions(self) -> Counter[str]:
        """How often each task ran, by its own account."""
        return Counter((self._folder / "executions").read_text().split())

    def files(self, run_id: str, task_id: str) -> dict[bytes, str]:
        """Hash what lies in a task's output directory on the cluster, by path within it; regular files only."""
        root = self.log_dir / "outputs" / run_id / task_id
        files = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
        return {os.fsencode(path.relative_to(root)): _sha256(path) for path in files}

    def _fill(self) -> None:
        for number, name in enumerate(PLOTS):
            self._add(f"plot-{name}", _PLOT.format(name=name, color=f"{30 * number:02x}80c0"))
        for number in range(4):
            self._add(f"quiet-{number}", "true")
        self._add_failures()
        self._add_hostile()
        self._add_family()
        self._add_files()

    def _add_failures(self) -> None:
        diverges = 'echo 1,2 > "$SCRIPTHUT_OUTPUT_DIR/partial.csv"; echo "# It diverged" > "$SCRIPTHUT_TASK_SUMMARY"\n'
        diverges += 'echo "the solver diverged at step 2" >&2; exit 3'
        self._add("fails-with-3", diverges, outcome=Outcome.FAILED, exit_code=3)
        self._add("fails-to-find", "no_such_solver --fast", outcome=Outcome.FAILED, exit_code=127)
        self._add("kills-itself", 'echo half > "$SCRIPTHUT_OUTPUT_DIR/half"; kill -9 $$', Outcome.FAILED, 137)
        self._add("execs", 'exec sh -c "echo replaced; exit 5"', outcome=Outcome.FAILED, exit_code=5)
        waits = 'echo begun > "$SCRIPTHUT_OUTPUT_DIR/begun"; exec sleep 600'
        self._add("cancelled", waits, outcome=Outcome.CANCELLED, exit_code=None)

    def _add_hostile(self) -> None:
        names = "|".join(name.decode() for name in HOSTILE_NAMES if b"\xff" not in name)
        self._add(
            "names",
            _NAMES,
            name=f"$(touch {self.canary}/name) `'\"\n<img src=x onerror=alert(1)>",
            env={"NAMES": names},
        )
        nasty = f"$(touch {self.canary}/env) `touch {self.canary}/tick` '; touch {self.canary}/semi; ' \" \\ \n%s"
        shows = 'printf %s "$NASTY" > "$SCRIPTHUT_OUTPUT_DIR/nasty"'
        self._add("environment", shows, env={"NASTY": nasty})
        self.nasty = nasty
        here = 'pwd -P > "$SCRIPTHUT_OUTPUT_DIR/here"'
        self._add("working-directory", here, working_dir=str(self.hostile_dir))
        self._add("init", 'printf %s "$WORD" > "$SCRIPTHUT_OUTPUT_DIR/word"', init=[f"export WORD='{PLAIN_WORD}'"])

    def _add_family(self) -> None:
        leaves = 'echo "$SCRIPTHUT_TASK_ID" > "$SCRIPTHUT_OUTPUT_DIR/done"'
        finds = 'for task in {}; do test -s "$SCRIPTHUT_OUTPUT_DIR/../$task/done" || exit 9; done; '
        self._add("first", leaves)
        self._add("second", finds.format("first") + leaves, deps=["first"])
        self._add("third", finds.format("first second") + leaves, deps=["first", "second"])
        never = self._add("never", "true", outcome=Outcome.DEPENDENCY_FAILED, exit_code=None, deps=["fails-with-3"])
        self.expected["never"] = msgspec.structs.replace(never, is_executed=False)

    def _add_files(self) -> None:
        here = 'cd "$SCRIPTHUT_OUTPUT_DIR"\n'
        large = f"head -c 3000000 /dev/urandom > taken; head -c {TOO_LARGE_BYTES} /dev/zero > left"
        self._add("large", here + large)
        many = 'mkdir -p a/b; for i in {1..200}; do echo "file $i $RANDOM" > "a/b/$i.txt"; done'
        self._add("many", here + many)
        self._add("links", here + "ln -s /etc/passwd link; mkfifo fifo; ln -s / root; echo real > real")
        talks = (
            "head -c 1500000 /dev/zero | tr '\\0' 'x'; echo; printf 'latin \\351t\\351 last line\\n'; echo warned >&2"
        )
        self._add("talks", talks)
        self._add("old", here + ": > empty; echo old > aged; touch -d 2001-01-01 aged; chmod 0400 aged")

    def _add(
        self, task_id: str, command: str, outcome: Outcome = Outcome.SUCCEEDED, exit_code: int | None = 0, **fields: Any
    ) -> Expected:
        own = {"EXECUTIONS": str(self._folder / "executions"), "PAINT": str(self._folder / "paint.py")}
        env = own | fields.pop("env", {})
        counted = f'echo "$SCRIPTHUT_TASK_ID" >> "$EXECUTIONS"\nsleep {self._pace_s:g}\n{command}'
        self._tasks.append({"id": task_id, "command": counted, "env": env, "working_dir": str(self._folder)} | fields)
        self.expected[task_id] = Expected(outcome=outcome, exit_code=exit_code)
        return self.expected[task_id]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
