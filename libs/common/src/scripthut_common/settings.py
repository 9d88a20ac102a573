"""Environment and TOML file → struct, with all faults reported together."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeGuard, TypeVar, get_args, get_origin

import msgspec
from msgspec.structs import FieldInfo

from .errors import SettingsError

S = TypeVar("S", bound=msgspec.Struct)
Secret = Annotated[str, msgspec.Meta(extra={"is_secret": True})]
"""A setting that no environment should hold: its variable with `_FILE` behind it names a file that does."""

_MAX_SECRET_BYTES = 64 * 1024


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

    An empty variable is as good as none. A field that is a struct itself has its own in `PREFIX_FIELD_…`. A `Secret`
    may stand in the file that `PREFIX_FIELD_FILE` names instead, as its only line.

    Raises:
        SettingsError: one line for every field that is missing or wrong, with the variable's name.
    """
    written = read_toml(file) if file else {}
    known = {field.name for field in msgspec.structs.fields(type_)}
    faults = [f"{file}: {key} is no setting" for key in written if key not in known]
    values = _gather(type_, environ, prefix, written, faults)
    if faults:
        raise SettingsError("settings are incomplete or wrong:\n" + "\n".join(f"  {fault}" for fault in faults))
    return type_(**values)


def _gather(
    type_: type[msgspec.Struct], environ: Mapping[str, str], prefix: str, written: Mapping[str, Any], faults: list[str]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(type_):
        variable = f"{prefix}_{field.name.upper()}"
        said = environ.get(variable) or None
        if is_secret(field.type) and (named := environ.get(f"{variable}_FILE")):
            said = _from_file(variable, named, faults, is_said=said is not None)
            if said is None:
                continue
        given = written.get(field.name) if said is None else _split(said, field.type)
        if given is None and _is_struct(field.type):
            # Its own faults are noted; the struct is made only for one that has none.
            given = _gather(field.type, environ, variable, {}, faults)
            values |= {field.name: field.type(**given)} if not faults else {}
        else:
            values |= _convert(field, given, variable, faults, is_text=said is not None)
    return values


def is_secret(type_: Any) -> bool:
    """Answer whether a field is a `Secret`, or one that may be missing."""
    if get_origin(type_) is Annotated:
        return any(isinstance(one, msgspec.Meta) and (one.extra or {}).get("is_secret") for one in get_args(type_))
    return any(map(is_secret, get_args(type_)))


def _from_file(variable: str, named: str, faults: list[str], *, is_said: bool) -> str | None:
    """Read a secret; `None` where a fault was noted, which never shows what the file holds."""
    where = f"{variable}_FILE: {named}"
    if is_said:
        faults.append(f"{variable} and {variable}_FILE are both set: one of them is enough")
        return None
    try:
        with Path(named).open("rb") as file:
            secret = file.read(_MAX_SECRET_BYTES + 1).removesuffix(b"\n").removesuffix(b"\r").decode()
    except OSError as error:
        faults.append(f"{where}: {error.strerror or error}")
    except (UnicodeDecodeError, ValueError):
        faults.append(f"{where} is no UTF-8 text")
    else:
        if secret and secret.isprintable() and len(secret) <= _MAX_SECRET_BYTES:
            return secret
        faults.append(f"{where} must hold the secret as its only line" if secret else f"{where} is empty")
    return None


def _is_struct(type_: Any) -> TypeGuard[type[msgspec.Struct]]:
    return isinstance(type_, type) and issubclass(type_, msgspec.Struct)


def fill(type_: type[S], table: Mapping[str, Any], where: str, faults: list[str]) -> S | None:
    """Make `type_` of a TOML table; `None` where that failed, with a line in `faults` for everything wrong."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(type_)}
    before = len(faults)
    faults += [f"{where}.{key} is no setting" for key in table if key not in fields]
    values: dict[str, Any] = {}
    for key, field in fields.items():
        values |= _convert(field, table.get(key), f"{where}.{key}", faults, is_text=False)
    return type_(**values) if len(faults) == before else None


def _convert(field: FieldInfo, given: Any, where: str, faults: list[str], *, is_text: bool) -> dict[str, Any]:
    """Give the field's value by its name; nothing where the default holds or a fault was noted."""
    if given is None:
        if field.required:
            faults.append(f"{where} is missing")
        return {}
    if isinstance(given, dict) and _is_struct(field.type):
        found = fill(field.type, given, where, faults)
        return {} if found is None else {field.name: found}
    try:
        return {field.name: msgspec.convert(given, type=field.type, strict=not is_text)}
    except msgspec.ValidationError as error:
        faults.append(f"{where}: {error}")
        return {}


def _split(raw: str, type_: object) -> object:
    """A variable that stands for a list has its words between commas."""
    if get_origin(type_) is not tuple:
        return raw
    return [word.strip() for word in raw.split(",") if word.strip()]
