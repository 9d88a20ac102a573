"""Sixty and more names that have hurt somebody's program, and the task that writes a file under each."""

from base64 import b64encode

_PLAIN = (
    b"plain.txt",
    b"with space.txt",
    b"  leading and trailing  ",
    b'it\'s "quoted".txt',
    b"$(touch pwned).txt",
    b"${HOME}",
    b"`touch pwned`",
    b"'; rm -rf . #",
    b"new\nline.txt",
    b"tab\there.txt",
    b"carriage\rreturn.txt",
    b"bell\x07 and \x1b[31mred\x1b[0m",
    b"\x1b]0;title\x07",
    b"\x01\x02\x7f",
    b"-rf",
    b"--",
    b"--help",
    b"-",
    "😀 plot.png".encode(),
    "👩\u200d🔬.txt".encode(),
    "e\u0301combining.txt".encode(),
    "\u00e9combining.txt".encode(),
    "gpj.\u202eexe".encode(),
    "zero\u200bwidth\ufeff.txt".encode(),
    "nbsp\u00a0and\u2028line".encode(),
    "full\uff0fwidth\uff0e\uff0e".encode(),
    "日本語.txt".encode(),
    b"invalid-\xff\xfe.bin",
    b"latin-\xe9t\xe9.txt",
    b"cut-\xe2\x82",
    b"surrogate-\xed\xa0\x80",
    b"overlong-\xc0\xaf",
    b"%2e%2e",
    b"%2e%2e%2fetc%2fpasswd",
    b"..%2f..%2fetc",
    b"100%25 #1?.md",
    b"%",
    b"%zz",
    b"..dots",
    b"...",
    b"trailing.",
    b"trailing ",
    b"con.txt",
    b"NUL",
    b"aux",
    b"COM1.log",
    b"<script>alert(1)<",
    b'"><img src=x onerror=alert(1)>.png',
    b"javascript:alert(1)",
    b"&lt;b&gt;&amp;.txt",
    b"{{ 7 * 7 }}{% raw %}",
    b"x" * 255,
    b"\xff" * 255,
    b"*",
    b"?",
    b"[a]",
    b"{a,b}",
    b"back\\slash",
    b"..\\..\\windows",
    b"C:\\x",
    b"C:",
    b".hidden",
    b"~",
    b"~root",
    b"#",
    b"a&b;c|d>e",
    b"!important!",
    b"a=b,c",
    b"Case.txt",
    b"case.txt",
    b"CASE.TXT",
    b"case~2.txt",
    b"ledger.json",
    b"run.json",
    b"task-summary.md.txt",
    b"Task-Summary.md",
    b"archive",
    b"file",
    b"PK\x03\x04.zip",
    b"__MACOSX",
)
_BELOW = (
    b"sub dir/\xff\n/$(id)",
    b"Sub Dir/task-summary.md",
    b"sub dir/.../..x",
    b"con/nul",
    b"<b>/<i>.txt",
    b"outputs/ledger.json",
    b"-rf2/--/-",
    b"\xe9/\xe9/\xe9.txt",
)
NAMES = (*_PLAIN, *_BELOW)

WRITE = """\
import base64, os, sys

os.chdir(os.environ["SCRIPTHUT_OUTPUT_DIR"])
for line in sys.stdin:
    name = base64.b64decode(line)
    folder = os.path.dirname(name)
    if folder:
        os.makedirs(folder, exist_ok=True)
    with open(name, "wb") as file:
        file.write(b"in " + name)
"""


def content(name: bytes) -> bytes:
    """What the task writes under a name."""
    return b"in " + name


def command() -> str:
    """The task."""
    listed = "\n".join(b64encode(name).decode() for name in NAMES)
    return f"cat > \"$TMPDIR/write.py\" <<'END'\n{WRITE}END\npython3 \"$TMPDIR/write.py\" <<'END'\n{listed}\nEND\n"
