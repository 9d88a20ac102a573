"""Print an address that logs a browser in once."""

from collections.abc import Mapping

from scripthut_outputs import wiring
from scripthut_outputs.settings import DoorSettings, load_some


async def login_url(environ: Mapping[str, str], actor: str | None) -> None:
    """Print it.

    Raises:
        SettingsError: settings are missing or wrong, or the tokens file does not name the actor.
        DatabaseUnavailable: the database is away.
    """
    print(await wiring.login_url(load_some(DoorSettings, environ), actor))
