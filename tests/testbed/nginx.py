"""nginx with one worker and sendfile: the measure for serving files."""

import os
import pwd
from pathlib import Path

from tests.testbed import ports
from tests.testbed.processes import Daemon, wait_until
from tests.testbed.workspaces import Server

PROGRAMS = (Path("/usr/sbin/nginx"), Path("/usr/bin/wrk"))

_CONFIG = """\
user {user};
daemon off;
worker_processes 1;
pid {directory}/pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    default_type application/octet-stream;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {directory}/files;
    }}
}}
"""


class Nginx(Server):
    """A running server of the files that are put into `files`.

    Attributes:
        files: the folder it serves.
        url: where it serves it, without a slash at the end.
    """

    def __init__(self) -> None:
        """Start to serve an empty folder."""
        self._port = ports.reserve_port()
        self.url = f"http://127.0.0.1:{self._port}"
        super().__init__("nginx")

    @property
    def worker_pid(self) -> int:
        """The process that does the work, for binding it to a core; the port is open a moment before it is there."""
        children = Path(f"/proc/{self.daemon.pid}/task/{self.daemon.pid}/children")
        wait_until(lambda: bool(children.read_text()), "nginx's worker")
        return int(children.read_text().split()[0])

    def _start(self) -> None:
        self.files = self._workspace.directory("files")
        user = pwd.getpwuid(os.geteuid()).pw_name
        text = _CONFIG.format(user=user, directory=self.directory, port=self._port)
        config = self._workspace.write("nginx.conf", text)
        self.daemon = Daemon(
            [PROGRAMS[0], "-c", config, "-p", self.directory],
            self._workspace,
            is_ready=lambda: ports.is_open(self._port),
        ).start()
