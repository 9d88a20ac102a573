"""Sessions of browsers: a signed cookie that names an actor for some days."""

import hashlib
import hmac
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from typing import Any

import msgspec
from itsdangerous import BadSignature, URLSafeTimedSerializer

from .callers import Found, Presented
from .directory import Directory
from .tokens import Tokens

_MARK_BYTES = 9


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """Whose it is, since when and until when, in epoch seconds.

    `mark` tells with which line of the tokens file it began; `None` where somebody else vouched for them.
    """

    name: str
    begun_at: float
    until: float
    mark: str | None


class Sessions:
    """Makes and reads the session cookie.

    Args:
        key: signs it; whoever knows the key may come in.
        days: how long a session lasts.
        is_secure: people reach us by https alone.
    """

    def __init__(self, key: bytes, *, days: float, is_secure: bool) -> None:
        self._key = key
        self._signer = URLSafeTimedSerializer(
            key, salt="scripthut-session", signer_kwargs={"digest_method": hashlib.sha256}
        )
        self._max_age_s = int(days * 86400)
        self.is_secure = is_secure
        self._marking = self.key_for(b"lines of the tokens file")
        # Cookies know no ports: a name of its own keeps two installations on one host apart. No other host of our
        # domain can set a cookie whose name begins with `__Host-`, and browsers keep such a one from plain http.
        own = hashlib.sha256(b"cookie name " + key).hexdigest()[:8]
        self.cookie_name = f"__Host-scripthut_{own}" if is_secure else f"scripthut_{own}"
        self._prefix = f"{self.cookie_name}=".encode()

    def cookie(self, actor: str, line: bytes | None = None) -> str:
        """The `Set-Cookie` header that begins a session; `line` of the tokens file, with which it ends.

        Lax, not Strict: a login link opened from a mail or a terminal must arrive logged in.
        """
        # The signer's own time has whole seconds: a session begun right after all were ended would be one of them.
        mark = None if line is None else self._mark(line)
        return self._header(str(self._signer.dumps([actor, time.time(), mark])), self._max_age_s)

    @property
    def removal(self) -> str:
        """The `Set-Cookie` header that ends a session."""
        return self._header("", 0)

    def read(self, cookie: bytes, now: float) -> Session | None:
        """Give the session of a cookie; `None` when it is not ours, too old, or does not say with what it began.

        Args:
            cookie: the value of our cookie.
            now: epoch seconds.
        """
        try:
            session = self._session(self._signer.loads(cookie, max_age=self._max_age_s))
        except (BadSignature, msgspec.ValidationError):
            return None
        return session if now < session.until else None

    def is_begun_with(self, session: Session, lines: Iterable[bytes]) -> bool:
        """Whether a session began with one of these lines of the tokens file, or with none at all."""
        return session.mark is None or any(session.mark == self._mark(line) for line in lines)

    def cookie_in(self, cookies: bytes | None) -> bytes | None:
        """The value of our cookie in a `Cookie` header."""
        if cookies is None or self._prefix not in cookies:
            return None
        values = (one.strip() for one in cookies.split(b";"))
        return next((one[len(self._prefix) :] for one in values if one.startswith(self._prefix)), None)

    def key_for(self, purpose: bytes) -> bytes:
        """A key for something else, which says nothing of ours."""
        return hmac.digest(self._key, b"scripthut " + purpose, "sha256")

    def _session(self, said: Any) -> Session:
        name, begun_at, mark = msgspec.convert(said, tuple[str, float, str | None])
        return Session(name=name, begun_at=begun_at, until=begun_at + self._max_age_s, mark=mark)

    def _mark(self, line: bytes) -> str:
        """What a cookie says of a line: nothing to those who do not have our key."""
        return urlsafe_b64encode(hmac.digest(self._marking, line, "sha256")[:_MARK_BYTES]).decode()

    def _header(self, value: str, max_age_s: int) -> str:
        secure = "; Secure" if self.is_secure else ""
        return f"{self.cookie_name}={value}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Lax{secure}"


class Cookies:
    """The way in by a session's cookie.

    Args:
        sessions: reads it.
        directory: makes actors of names.
        tokens: a session that began with a line of theirs ends with it.
    """

    def __init__(self, sessions: Sessions, directory: Directory, tokens: Tokens) -> None:
        self._sessions = sessions
        self._directory = directory
        self._tokens = tokens

    async def find(self, presented: Presented) -> Found | None:
        """Give whose session it is."""
        cookie = self._sessions.cookie_in(presented.headers.get(b"cookie"))
        session = None if cookie is None else self._sessions.read(cookie, presented.now)
        if session is None or not self._sessions.is_begun_with(session, self._tokens.lines_of(session.name)):
            return None
        actor = await self._directory.actor(
            session.name, credential="session", begun_at=session.begun_at, is_told=session.mark is None
        )
        return None if actor is None else Found(actor, until=session.until)
