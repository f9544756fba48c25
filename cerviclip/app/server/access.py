"""Who may ask for what, and how often: bearer tokens with roles, and a limit of requests."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dassl.errors import MissingFileError, UserError

ROLES = ("reader", "annotator", "admin")  # each may do what those before it may
TOKENS = "CERVICLIP_TOKENS"
_CLIENTS = 10_000  # that a limiter remembers


@dataclass(frozen=True)
class Token:
    """A client that may ask.

    Attributes:
        name: as the audit log states it.
        role: of `ROLES`.
        sha256: of the token, in hex; the token itself is nowhere kept.
    """

    name: str
    role: str
    sha256: str

    def may(self, role: str) -> bool:
        return ROLES.index(self.role) >= ROLES.index(role)


EVERYBODY = Token("local", "admin", "")  # where a server on this machine alone has no tokens


def new_token(name: str, role: str) -> tuple[str, str]:
    """A new token, and the line of the tokens' file that lets it in."""
    token = secrets.token_urlsafe(32)
    line = f"{name} {role} {hashlib.sha256(token.encode()).hexdigest()}"
    parse_tokens(line, "--new-token")
    return token, line


def read_tokens(path: Path | None) -> tuple[Token, ...]:
    """Tokens of a file and of the environment variable ``CERVICLIP_TOKENS``.

    Raises:
        UserError: a line is not ``NAME ROLE SHA256``.
    """
    found: list[Token] = []
    if path is not None:
        if not path.is_file():
            raise MissingFileError(f"no file of tokens {path}; --new-token NAME ROLE makes a line")
        found += parse_tokens(path.read_text(encoding="utf-8"), str(path))
    found += parse_tokens(os.environ.get(TOKENS, "").replace(";", "\n"), TOKENS)
    return tuple(found)


def parse_tokens(text: str, where: str) -> list[Token]:
    """Tokens of lines ``NAME ROLE SHA256``; empty lines and those that begin with # say nothing."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        right = len(words) == 3 and words[1] in ROLES and len(words[2]) == 64
        if not right or set(words[2]) - set("0123456789abcdef"):
            raise UserError(
                f"{where}, line {number}, is not NAME ROLE SHA256 with a role of "
                f"{', '.join(ROLES)}; cerviclip serve --new-token NAME ROLE makes one"
            )
        found.append(Token(*words))
    return found


def who_is(authorization: str, tokens: Sequence[Token]) -> Token | None:
    """The client of an ``Authorization`` header; None of an unknown one.

    ``Bearer TOKEN``, or ``Basic`` with the token as password, which is all that Label Studio can
    send. Every token is compared, each in constant time, so that the time tells nothing.
    """
    scheme, _, said = authorization.partition(" ")
    token = said.strip().encode("utf-8", "replace")
    if scheme.lower() == "basic":
        try:
            token = base64.b64decode(token, validate=True).partition(b":")[2]
        except ValueError:
            return None
    elif scheme.lower() != "bearer":
        return None
    digest = hashlib.sha256(token).hexdigest()
    found = None
    for known in tokens:
        if hmac.compare_digest(digest, known.sha256):
            found = known
    return found


class RateLimit:
    """A bucket of tokens for each client: so many requests at once, filled again in a minute.

    Args:
        per_minute: requests; 0 for no limit.
    """

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_for(self, client: str, now: float | None = None) -> float:
        """Count a request; seconds to wait where it is one too many, else 0."""
        if not self.per_minute:
            return 0.0
        now = time.monotonic() if now is None else now
        rate = self.per_minute / 60
        with self._lock:
            left, then = self._left.pop(client, (float(self.per_minute), now))
            left = min(float(self.per_minute), left + (now - then) * rate)
            allowed = left >= 1
            self._left[client] = (left - allowed, now)
            if len(self._left) > _CLIENTS:
                self._left.popitem(last=False)
        return 0.0 if allowed else (1 - left) / rate
