"""A real OpenID provider, `oidc-provider` on Node, on a free loopback port."""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from joserfc.jwk import RSAKey

from scripthut_outputs.access.policy import Oidc
from tests.testbed import ports
from tests.testbed.processes import Daemon
from tests.testbed.workspaces import Server

FOLDER = Path(__file__).parent
AUDIENCE = "https://outputs.example.org"
CLIENT_ID = "scripthut"
_SECRETS = {CLIENT_ID: "secret of the browsers' client", "robot": "secret of the program's client"}
_MIN_NODE = 20
_ACTION = re.compile(r'action="([^"]+)"')
_FIELD = re.compile(r'type="hidden" name="(\w+)" value="(\w+)"')


class OidcProvider(Server):
    """A running provider; `daemon` may be stopped, killed, paused and started again, then without sessions.

    Attributes:
        issuer: its address.
        secret_file: of our client there.
    """

    def __init__(self, redirect: str) -> None:
        """Start the provider; `redirect` is where it sends browsers back to."""
        self.port = ports.reserve_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self._redirect = redirect
        self._keys = [_key("first")]
        super().__init__("oidc")

    def settings(self, **changes: Any) -> Oidc:
        """What the access file says of it."""
        values: dict[str, Any] = {
            "issuer": self.issuer,
            "client_id": CLIENT_ID,
            "client_secret_file": str(self.secret_file),
            "audiences": (AUDIENCE,),
        }
        return Oidc(**(values | changes))

    def people(self, **people: Mapping[str, Any]) -> None:
        """Let these be everybody, by what they log in with, with what is said of them from now on."""
        self._workspace.write("people.json", json.dumps(people))

    def rotate(self) -> None:
        """Sign with a new key, and know the old one no more."""
        self._keys = [_key("second")]
        self._write_settings()
        self.daemon.restart()

    async def log_in(self, location: str, name: str = "ada") -> str:
        """Do at the provider what a person does in a browser; give the address that it sends them back to."""
        async with httpx.AsyncClient(base_url=self.issuer) as person:
            answer = await person.get(location)
            while not answer.headers.get("location", "").startswith(self._redirect):
                if answer.is_redirect:
                    answer = await person.get(answer.headers["location"])
                else:
                    form = dict(_FIELD.findall(answer.text)) | {"login": name, "password": "anything"}
                    action = _ACTION.search(answer.text)
                    assert action is not None, answer.text
                    answer = await person.post(action[1], data=form)
            return answer.headers["location"]

    def token(self, client: str = "robot", scope: str = "", audience: str = AUDIENCE) -> str:
        """Give a program's access token."""
        form = {"grant_type": "client_credentials", "resource": audience} | ({"scope": scope} if scope else {})
        answer = httpx.post(f"{self.issuer}/token", data=form, auth=(client, _SECRETS[client].replace(" ", "+")))
        token: str = answer.raise_for_status().json()["access_token"]
        return token

    def _start(self) -> None:
        self.secret_file = self._workspace.write("client-secret", _SECRETS[CLIENT_ID])
        self.people(ada={"preferred_username": "ada"})
        self._write_settings()
        self.daemon = Daemon(
            [_node(), FOLDER / "server.mjs", self._workspace.path, str(self.port)],
            self._workspace,
            is_ready=lambda: ports.is_open(self.port),
            name="oidc-provider",
        ).start()

    def _write_settings(self) -> None:
        browsers = {"redirect_uris": [self._redirect], "grant_types": ["authorization_code"]}
        programs = {"redirect_uris": [], "response_types": [], "grant_types": ["client_credentials"]}
        clients = [
            {"client_id": CLIENT_ID, "client_secret": _SECRETS[CLIENT_ID], **browsers},
            {"client_id": "robot", "client_secret": _SECRETS["robot"], **programs},
        ]
        keys = {"keys": [key.as_dict(private=True) for key in self._keys]}
        said = {"clients": clients, "keys": keys, "audience": AUDIENCE}
        self._workspace.write("settings.json", json.dumps(said), mode=0o600)


def lacking() -> str:
    """Say why no provider can be started here; empty when it can."""
    node = shutil.which("node")
    if node is None:
        return "the OpenID provider needs Node 20 or newer: run `sh tests/testbed/install.sh` as root on Debian"
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    if int(version.lstrip("v").partition(".")[0] or 0) < _MIN_NODE:
        return f"the OpenID provider needs Node {_MIN_NODE} or newer; {node} is {version}"
    if not (FOLDER / "node_modules" / "oidc-provider").exists():
        return "the OpenID provider is not installed: run `sh tests/testbed/install.sh`"
    return ""


def _node() -> Path:
    return Path(str(shutil.which("node")))


def _key(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid, "alg": "RS256", "use": "sig"}, private=True)
