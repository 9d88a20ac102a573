"""Sessions of browsers: a signed cookie that names an actor for some days."""

import hashlib

from itsdangerous import BadSignature, URLSafeTimedSerializer

from . import Actor
from .callers import Presented
from .directory import Directory

_REMEMBERED = 1024


class Sessions:
    """Makes and reads the session cookie.

    Args:
        key: signs it; whoever knows the key may come in.
        days: how long a session lasts.
        is_secure: people reach us by https alone.
    """

    def __init__(self, key: bytes, *, days: float, is_secure: bool) -> None:
        self._signer = URLSafeTimedSerializer(
            key, salt="scripthut-session", signer_kwargs={"digest_method": hashlib.sha256}
        )
        self._max_age_s = int(days * 86400)
        self._is_secure = is_secure
        self.key = key
        self.is_secure = is_secure
        self._remembered: dict[bytes, tuple[str, float]] = {}
        # Cookies know no ports: a name of its own keeps two installations on one host apart.
        self.cookie_name = f"scripthut_{hashlib.sha256(b'cookie name ' + key).hexdigest()[:8]}"
        self._prefix = f"{self.cookie_name}=".encode()

    def cookie(self, actor: str) -> str:
        """The `Set-Cookie` header that begins a session.

        Lax, not Strict: a login link opened from a mail or a terminal must arrive logged in.
        """
        return self._header(str(self._signer.dumps(actor)), self._max_age_s)

    @property
    def removal(self) -> str:
        """The `Set-Cookie` header that ends a session."""
        return self._header("", 0)

    def read(self, cookie: bytes, now: float) -> tuple[str, float] | None:
        """Whom a cookie names, and since when in epoch seconds; `None` when it is not ours or too old.

        Args:
            cookie: the value of our cookie.
            now: epoch seconds.
        """
        known = self._remembered.get(cookie)
        if known is None:
            try:
                name, made_at = self._signer.loads(cookie, max_age=self._max_age_s, return_timestamp=True)
            except BadSignature:
                return None
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            known = self._remembered[cookie] = (str(name), made_at.timestamp() + self._max_age_s)
        return (known[0], known[1] - self._max_age_s) if now < known[1] else None

    def cookie_in(self, cookies: bytes | None) -> bytes | None:
        """The value of our cookie in a `Cookie` header."""
        if cookies is None or self._prefix not in cookies:
            return None
        values = (one.strip() for one in cookies.split(b";"))
        return next((one[len(self._prefix) :] for one in values if one.startswith(self._prefix)), None)

    def _header(self, value: str, max_age_s: int) -> str:
        secure = "; Secure" if self._is_secure else ""
        return f"{self.cookie_name}={value}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Lax{secure}"


class Cookies:
    """The way in by a session's cookie."""

    def __init__(self, sessions: Sessions, directory: Directory) -> None:
        self._sessions = sessions
        self._directory = directory

    async def find(self, presented: Presented) -> Actor | None:
        """Give whose session it is."""
        cookie = self._sessions.cookie_in(presented.headers.get(b"cookie"))
        found = None if cookie is None else self._sessions.read(cookie, presented.now)
        if found is None:
            return None
        name, begun_at = found
        return await self._directory.actor(name, credential="session", begun_at=begun_at)
