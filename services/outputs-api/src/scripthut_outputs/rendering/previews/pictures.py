"""Show pictures and drawings by their own addresses: nothing of theirs enters a page. Pure."""

from .asking import Asked
from .pieces import safe


def file_address(asked: Asked) -> str:
    """Where the bytes are served, in a cage."""
    path = asked.url.partition("/files/")[2]
    return f"/runs/{asked.run_id}/tasks/{asked.task_id}/outputs/file/{path}"


def show(_content: bytes, asked: Asked) -> str:
    """Show a picture in full width, and by itself behind a click."""
    name = safe(asked.path.decode("utf-8", "replace"))
    address = safe(file_address(asked))
    # Another one for other bytes: browsers do not ask again for a picture that they have.
    source = f"{address}?v={asked.sha256[:12]}"
    return f'<figure class="picture"><a href="{address}"><img src="{source}" alt="{name}"></a></figure>'
