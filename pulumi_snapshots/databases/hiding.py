"""What no error may show of a connection string."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote

HIDDEN = "…"
LONGEST = 300
"""Characters of a library's message that an error repeats."""
_KEYWORD = re.compile(r"\b(\w*password|host|hostaddr|user)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S+))", re.IGNORECASE)


def without(dsn: str, message: object) -> str:
    """The first line of a message, without a part of a connection string, and not too long."""
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
            if re.search("pass|secret", name.lower()) or "\n" in value or "-----BEGIN" in value:
                secret |= {value, *value.splitlines()}
    for name, *values in _KEYWORD.findall("" if "://" in dsn else dsn):
        (secret if name.lower().endswith("password") else place).update(values)
    said = str(message)
    for each in sorted(filter(None, secret), key=len, reverse=True):
        said = said.replace(each, HIDDEN)
    for each in sorted(filter(None, place), key=len, reverse=True):
        said = re.sub(rf"(?<![\w.-]){re.escape(each)}(?![\w-]|\.\w)", HIDDEN, said)
    line = " ".join((said.strip().splitlines() or [""])[0].split()).rstrip(".")
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}{HIDDEN}"
