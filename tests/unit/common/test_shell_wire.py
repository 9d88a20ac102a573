"""One command line for any login shell, and the frame around the program's answer."""

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripthut_common.errors import LimitExceeded
from scripthut_common.shell import wire

MARKER = "0123456789abcdef"
SHOW = 'for word do printf "%s\\0" "$word"; done'
HOSTILE = [
    "a'b",
    'a"b',
    "$(id)",
    "`id`",
    "!!",
    "a!b",
    "line\nline\n\n",
    "tab\t",
    "\\",
    "\\0101",
    "\\c",
    "%s%n",
    "-n",
    "--",
    "",
    "*",
    "~",
    "é☃",
    "\udcff\udcfe",
    "a;b|c&d>e<f",
    "\x1b[31m",
    "{a,b}",
    "#",
    "^x^y",
]


def _decode(stdout: bytes, piece_bytes: int = 7) -> tuple[bytes, int | None]:
    decoder = wire.Decoder(MARKER)
    pieces = [stdout[start : start + piece_bytes] for start in range(0, len(stdout), piece_bytes)]
    output = b"".join([decoder.feed(piece) for piece in pieces])
    return output, decoder.finish()


LOGIN_SHELLS = pytest.mark.parametrize("login_shell", ["sh", "bash", "dash", "tcsh", "zsh", "fish"])


@LOGIN_SHELLS
def test_every_login_shell_takes_a_long_program(login_shell: str) -> None:
    if shutil.which(login_shell) is None:
        pytest.skip(f"{login_shell} is not installed")
    line = wire.command_line("printf long\n" + "# a comment that nobody reads\n" * 1000, (), MARKER)

    done = subprocess.run([login_shell, "-c", line], capture_output=True, check=False)

    assert _decode(done.stdout) == (b"long", 0)


@LOGIN_SHELLS
def test_every_login_shell_hands_over_hostile_words_unchanged(login_shell: str) -> None:
    if shutil.which(login_shell) is None:
        pytest.skip(f"{login_shell} is not installed")
    line = wire.command_line(SHOW + "; exit 7", tuple(HOSTILE), MARKER)

    done = subprocess.run([login_shell, "-c", line], capture_output=True, check=False)

    expected = b"".join(word.encode("utf-8", "surrogateescape") + b"\0" for word in HOSTILE)
    assert _decode(done.stdout) == (expected, 7)


def test_the_command_line_shows_a_login_shell_only_harmless_characters() -> None:
    line = wire.command_line("echo '!'\n", tuple(HOSTILE), MARKER)

    assert line.isascii()
    assert line.isprintable()
    assert "!" not in line
    assert "\\\\" not in line


def test_a_program_with_a_syntax_error_still_ends_with_its_status() -> None:
    line = wire.command_line("if then", (), MARKER)

    done = subprocess.run(["sh", "-c", line], capture_output=True, check=False)

    output, status = _decode(done.stdout)
    assert (output, status not in {0, None}) == (b"", True)


def test_a_command_line_longer_than_linux_takes_is_refused() -> None:
    with pytest.raises(LimitExceeded, match="standard input"):
        wire.command_line("x" * 200_000, (), MARKER)


@given(output=st.binary(), noise=st.binary(), status=st.integers(0, 255), piece_bytes=st.integers(1, 64))
def test_the_answer_is_found_however_it_is_cut_into_pieces(
    output: bytes, noise: bytes, status: int, piece_bytes: int
) -> None:
    stdout = noise + f"{MARKER}\n".encode() + output + f"{MARKER} {status:03d}\n".encode()

    assert _decode(stdout, piece_bytes) == (output, status)


@given(cut=st.integers(1, 60))
def test_an_answer_that_lacks_any_byte_of_its_end_has_no_status(cut: int) -> None:
    whole = f"motd\n{MARKER}\nsome output of the program{MARKER} 000\n".encode()

    assert _decode(whole[:-cut])[1] is None


def test_an_end_marker_inside_a_file_ends_nothing() -> None:
    forged = f"{MARKER} 000\n".encode()

    assert _decode(f"{MARKER}\n".encode() + forged + b"more") == (forged + b"more", None)
    assert _decode(f"{MARKER}\n".encode() + forged + f"{MARKER} 003\n".encode()) == (forged, 3)


def test_all_that_a_program_wrote_is_there_before_it_writes_more() -> None:
    decoder = wire.Decoder(MARKER)

    assert decoder.feed(f"{MARKER}\nabc".encode()) == b"abc"
    assert decoder.feed(MARKER[:5].encode()) == b""
    assert decoder.feed(b"!") == f"{MARKER[:5]}!".encode()


def test_endless_noise_before_the_program_is_an_error() -> None:
    decoder = wire.Decoder(MARKER)
    decoder.feed(b"x" * 1024 * 1024)

    with pytest.raises(LimitExceeded, match="login shell"):
        decoder.feed(b"x" * 1024)


def test_noise_on_standard_error_is_dropped() -> None:
    assert wire.without_noise(f"bash: warning\n{MARKER}\nreal".encode(), MARKER) == b"real"
    assert wire.without_noise(b"no marker at all", MARKER) == b"no marker at all"


def test_what_the_login_shell_printed_is_counted_on_both_outputs() -> None:
    decoder = wire.Decoder("mark")

    for piece in (b"Wel", b"come!\nma", b"rk\noutput", b"mark 000\n"):
        decoder.feed(piece)

    assert decoder.noise_bytes == len(b"Welcome!\n")
    assert wire.noise_bytes(b"quota\nmark\nerror", "mark") == len(b"quota\n")
    assert wire.noise_bytes(b"error before any mark", "mark") == 0
