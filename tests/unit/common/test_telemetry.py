"""One event is one line, whatever its values hold."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripthut_common import telemetry
from scripthut_common.errors import SettingsError

HOSTILE = "x\n2026-01-01T00:00:00Z error forged\r\x1b[31m\u202eevil\u2028\x85\ud800"


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def written(environ: dict[str, str], *, level: str = "info", event: str = "seen", **values: object) -> str:
    stream = io.StringIO()
    telemetry.configure(environ, stream)
    getattr(structlog.get_logger("scripthut_common.test"), level)(event, **values)
    return stream.getvalue()


def test_a_terminal_gets_text_and_everything_else_json() -> None:
    terminal, pipe = Terminal(), io.StringIO()

    for stream in (terminal, pipe):
        telemetry.configure({}, stream)
        structlog.get_logger("scripthut_common.test").info("loop_waits", loop="watching", fault="two words")

    assert terminal.getvalue().endswith('info loop_waits loop=watching fault="two words"\n')
    assert json.loads(pipe.getvalue())["fault"] == "two words"


@pytest.mark.parametrize("style", ["text", "json"])
def test_hostile_values_cannot_forge_a_line_nor_colour_a_terminal(style: str) -> None:
    text = written(
        {"SCRIPTHUT_LOG_FORMAT": style},
        name=HOSTILE,
        nested={"deep": [HOSTILE]},
        raw=HOSTILE.encode("utf-8", "surrogatepass"),
    )

    assert text.count("\n") == 1
    assert text.removesuffix("\n").isprintable()


def test_a_value_cannot_pass_for_another_key() -> None:
    text = written({"SCRIPTHUT_LOG_FORMAT": "text"}, name='a" level=error b="', plain="a=b")

    assert r'name="a\" level=error b=\""' in text
    assert 'plain="a=b"' in text


def test_a_hostile_exception_stays_behind_the_margin() -> None:
    text = written({"SCRIPTHUT_LOG_FORMAT": "text"}, exc_info=ValueError(HOSTILE))

    first, *rest = text.removesuffix("\n").split("\n")
    assert first.endswith("info seen")
    assert rest
    assert all(line.startswith("    | ") and line.isprintable() for line in rest)


@given(st.text(), st.text())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_two_values_make_one_printable_line(one: str, other: str) -> None:
    text = written({"SCRIPTHUT_LOG_FORMAT": "text"}, event=one, value=other)

    assert text.count("\n") == 1
    assert text.removesuffix("\n").isprintable()


def test_long_values_are_cut_and_say_so() -> None:
    text = written({}, value="x" * 100_000)

    assert len(text) < 5000
    assert "(100000 characters)" in text


def test_libraries_are_heard_from_warnings_on() -> None:
    stream = io.StringIO()
    telemetry.configure({"SCRIPTHUT_LOG_LEVEL": "debug"}, stream)

    logging.getLogger("aio_pika").info("chatter")
    logging.getLogger("asyncssh").warning("lost %s", HOSTILE)

    assert [json.loads(line)["logger"] for line in stream.getvalue().splitlines()] == ["asyncssh"]


@pytest.mark.parametrize(("level", "shown"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_environment_sets_the_level(level: str, shown: int) -> None:
    lines = [written({"SCRIPTHUT_LOG_LEVEL": level}, level=said) for said in telemetry.LEVELS]

    assert sum(map(bool, lines)) == shown


def test_wrong_settings_are_told_together() -> None:
    with pytest.raises(SettingsError) as caught:
        telemetry.configure({"SCRIPTHUT_LOG_LEVEL": "loud", "SCRIPTHUT_LOG_FORMAT": "xml"})

    assert "SCRIPTHUT_LOG_LEVEL must be one of debug, info, warning, error; found 'loud'" in str(caught.value)
    assert "SCRIPTHUT_LOG_FORMAT must be one of auto, text, json; found 'xml'" in str(caught.value)
