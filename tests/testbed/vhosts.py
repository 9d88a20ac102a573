"""Virtual hosts of one RabbitMQ broker, so that each test has exchanges and queues of its own."""

import base64
import http.client
import json
from typing import Any
from urllib.parse import quote, urlsplit

from tests.testbed.processes import ServerError


class Vhosts:
    """What tests do with a broker, wherever it runs.

    Args:
        uri: the default virtual host, as an administrator.
        management_port: where the same host serves the management interface.
    """

    def __init__(self, uri: str, management_port: int) -> None:
        self._base = uri.rstrip("/") + "/"
        self._port = management_port

    def create(self, name: str) -> str:
        """Make an empty virtual host and return its URI."""
        self.manage("PUT", f"vhosts/{quote(name, safe='')}")
        return self._base + quote(name, safe="")

    def delete(self, name: str) -> None:
        """Remove a virtual host with all that is in it, cutting its connections."""
        self.manage("DELETE", f"vhosts/{quote(name, safe='')}")

    def manage(self, method: str, path: str, body: object = None) -> Any:
        """Call the management interface (`/api/` and the path) and return its JSON.

        Raises:
            ServerError: it refused.
        """
        where = urlsplit(self._base)
        login = base64.b64encode(f"{where.username}:{where.password}".encode()).decode()
        connection = http.client.HTTPConnection(where.hostname or "127.0.0.1", self._port, timeout=30)
        try:
            headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
            connection.request(method, f"/api/{path}", None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= 400:
            raise ServerError(f"RabbitMQ refused {method} {path}: {answer.status} {text.decode(errors='replace')}")
        return json.loads(text) if text else None
