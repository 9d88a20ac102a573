"""Open the page of a run or a task in a browser."""

import webbrowser

from .exits import Exit
from .paging import run_path, task_path
from .screen import Screen
from .where import Where


def open_page(where: Where, screen: Screen, run_id: str, task_id: str | None, *, is_printed_only: bool) -> Exit:
    """Print the address, and open it unless it is only to be printed.

    Raises:
        SettingsError: nothing can have such an id.
    """
    path = run_path(run_id) if task_id is None else task_path(run_id, task_id)
    url = f"{where.url}/ui{path}"
    screen.say(url)
    is_opened = not is_printed_only and webbrowser.open(url)
    if screen.is_json:
        screen.tell({"url": url, "is_opened": is_opened})
    if is_opened or is_printed_only:
        return Exit.FINE
    screen.note("There is no browser here that could be opened.")
    return Exit.ERROR
