"""What no error may show of a connection string."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote

HIDDEN = "…"
LONGEST = 300
"""Characters of a library's message that an error repeats."""
_PASSWORD = re.compile(r"\b\w*password\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S+))", re.IGNORECASE)
_PLACE = re.compile(r"\b(?:host|hostaddr|user)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S+))", re.IGNORECASE)


class Hidden:
    """The parts of a connection string that are taken out of what libraries and servers say.

    Args:
        dsn: the connection string, of any kind of database.
    """

    def __init__(self, dsn: str) -> None:
        secret, place = {dsn}, set[str]()
        if "://" in dsn:
            rest = dsn.partition("://")[2]
            # Not `urlsplit`: what cannot be read as a URL, such as a password with an @ or a slash, is hidden too.
            for at in (found.start() for found in re.finditer("@", rest)):
                user, _, password = rest[:at].partition(":")
                secret |= {rest[:at] if password else "", password, unquote(password)}
                place |= {user, unquote(user)}
            hosts = re.split("[/?#]", rest.partition("?")[0].rpartition("@")[2])[0]
            place |= {re.sub(r":\d*$", "", host).strip("[]") for host in hosts.split(",")}
            for name, value in parse_qsl(dsn.partition("?")[2]):
                if _is_secret(name, value):
                    secret |= {value, *value.splitlines()}
        else:
            secret |= {value for found in _PASSWORD.findall(dsn) for value in found}
            place |= {value for found in _PLACE.findall(dsn) for value in found}
        self._secret = sorted(filter(None, secret), key=len, reverse=True)
        self._place = sorted(filter(None, place), key=len, reverse=True)

    def text(self, message: object) -> str:
        """The first line of a message, without a part of the connection string, and not too long."""
        said = str(message)
        for each in self._secret:
            said = said.replace(each, HIDDEN)
        for each in self._place:
            said = re.sub(rf"(?<![\w.-]){re.escape(each)}(?![\w-]|\.\w)", HIDDEN, said)
        line = " ".join((said.strip().splitlines() or [""])[0].split()).rstrip(".")
        return line if len(line) <= LONGEST else f"{line[:LONGEST]}{HIDDEN}"

    def __repr__(self) -> str:
        return "Hidden(…)"


def _is_secret(name: str, value: str) -> bool:
    return "pass" in name.lower() or "secret" in name.lower() or "\n" in value or "-----BEGIN" in value
