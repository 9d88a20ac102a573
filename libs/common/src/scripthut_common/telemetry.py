"""Logs, configured once per process: key=value for a terminal, JSON for everything else.

`SCRIPTHUT_LOG_LEVEL` is debug, info, warning or error; `SCRIPTHUT_LOG_FORMAT` is auto, text or json.
"""

import logging
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from .errors import SettingsError

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
FORMATS = ("auto", "text", "json")
_OURS = ("scripthut_common", "scripthut_poller", "scripthut_outputs", "__main__")
_MAX_VALUE_CHARACTERS = 4000
_MARGIN = "    | "


def configure(environ: Mapping[str, str], stream: TextIO = sys.stderr) -> None:
    """Send our logs, and the libraries' from warnings on, to `stream`.

    Raises:
        SettingsError: names every variable that is wrong.
    """
    level, is_text = _read(environ, stream)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.format_exc_info,
        _shorten,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    renderers: list[Processor] = [_render_text] if is_text else [structlog.processors.JSONRenderer(default=repr)]
    output = logging.StreamHandler(stream)
    output.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    logging.basicConfig(handlers=[output], level=logging.WARNING, force=True)
    # Every attempt to reconnect is an error to aiormq; `bus.amqp` tells an outage once.
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)
    for name in _OURS:
        logging.getLogger(name).setLevel(level)


def _read(environ: Mapping[str, str], stream: TextIO) -> tuple[int, bool]:
    level = environ.get("SCRIPTHUT_LOG_LEVEL", "info").lower()
    style = environ.get("SCRIPTHUT_LOG_FORMAT", "auto").lower()
    faults = []
    if level not in LEVELS:
        faults.append(f"SCRIPTHUT_LOG_LEVEL must be one of {', '.join(LEVELS)}; found {level!r}")
    if style not in FORMATS:
        faults.append(f"SCRIPTHUT_LOG_FORMAT must be one of {', '.join(FORMATS)}; found {style!r}")
    if faults:
        raise SettingsError("\n".join(faults))
    return LEVELS[level], style == "text" or (style == "auto" and stream.isatty())


def _shorten(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Bound every value: what a cluster prints may be long."""
    for key, value in event.items():
        if isinstance(value, str) and len(value) > _MAX_VALUE_CHARACTERS and key != "exception":
            event[key] = f"{value[:_MAX_VALUE_CHARACTERS]}… ({len(value)} characters)"
    return event


def _render_text(_: WrappedLogger, __: str, event: MutableMapping[str, Any]) -> str:
    """Write `2026-03-01T12:00:00Z warning loop_waits loop=watching fault="PostgreSQL: down"`.

    One event is one line that nothing in its values can end or colour; the lines of a traceback stand behind a margin.
    """
    exception, origin = event.pop("exception", ""), event.pop("logger", "")
    words = [_plain(str(event.pop(key, ""))) for key in ("timestamp", "level")]
    if origin.startswith(_OURS):
        words.append(_plain(str(event.pop("event", ""))))
    else:
        words += [_quoted(event.pop("event", "")), f"logger={_quoted(origin)}"]
    words += [f"{_plain(key)}={_quoted(value)}" for key, value in event.items()]
    lines: Sequence[str] = str(exception).split("\n") if exception else ()
    return "\n".join((" ".join(words), *(_MARGIN + _plain(line) for line in lines)))


def _quoted(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    plain = _plain(text)
    if plain == text and text and not set(text) & set(" =\"'"):
        return text
    return '"' + plain.replace('"', r"\"") + '"'


def _plain(text: str) -> str:
    r"""Escape what is not printable: newlines, terminal escapes, marks that turn the direction of reading; `\` too."""
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(
        one if one.isprintable() and one != "\\" else one.encode("unicode_escape", "surrogatepass").decode()
        for one in text
    )
