"""Environment and TOML file → struct, with all faults reported together."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_origin

import msgspec

from .errors import SettingsError

S = TypeVar("S", bound=msgspec.Struct)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        SettingsError: it cannot be read or is not TOML; names file and line.
    """
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error


def load(type_: type[S], environ: Mapping[str, str], *, prefix: str, file: Path | None = None) -> S:
    """Fill `type_` from `PREFIX_FIELD` variables, then from the top level of a TOML file, then defaults.

    Raises:
        SettingsError: one line for every field that is missing or wrong, with the variable's name.
    """
    written = read_toml(file) if file else {}
    values: dict[str, Any] = {}
    faults: list[str] = []
    for field in msgspec.structs.fields(type_):
        variable = f"{prefix}_{field.name.upper()}"
        raw = environ.get(variable, written.get(field.name))
        if raw is None:
            if field.required:
                faults.append(f"{variable} is missing")
            continue
        try:
            given = _split(raw, field.type) if variable in environ else raw
            values[field.name] = msgspec.convert(given, type=field.type, strict=variable not in environ)
        except msgspec.ValidationError as error:
            faults.append(f"{variable}: {error}")
    if faults:
        raise SettingsError("settings are incomplete or wrong:\n" + "\n".join(f"  {fault}" for fault in faults))
    return type_(**values)


def _split(raw: str, type_: object) -> object:
    """A variable that stands for a list has its words between commas."""
    if get_origin(type_) is not tuple:
        return raw
    return [word.strip() for word in raw.split(",") if word.strip()]
