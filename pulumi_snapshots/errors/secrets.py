"""Hides secrets in texts, and values that may be secrets, typed in the place of a name."""

import re
from itertools import pairwise

HIDDEN = "…"
"""What stands for the part of a secret that no text shows."""
SHOWN_CHARACTERS = 3
"""The first characters of a secret that a text shows, so that its owner knows which one it is."""
SHORT_WORD = 8
"""Characters. A shorter secret, such as `test`, is the part of many innocent words."""

_PRIVATE_KEY = re.compile(r"(AGE-SECRET-KEY-|AGE-PLUGIN-\w+-)\w+", re.IGNORECASE)
_PASSWORD_IN_URL = re.compile(
    r"(\b[a-z][a-z0-9+.-]*:/{1,2}[^\s:/@?#]*:)(?!PASSWORD@)([^\s/@]+)@", re.IGNORECASE
)
_PASSWORD_IN_KEYWORDS = re.compile(
    r"\b((?:password|accountkey|sig)\s*=\s*)('[^']*'|[^\s;&]+)", re.IGNORECASE
)
_WORD = re.compile(r"[A-Za-z0-9+=]{16,}")
"""Where randomness is looked for. Neither dates and UUIDs nor paths of usual words have such
parts.
"""
_DIGEST = re.compile(r"[a-f0-9]+")
"""An id of a database, or a digest: random, and no secret."""
_KIND_OF_CHARACTER = str.maketrans(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
    "l" * 26 + "U" * 26 + "9" * 10,
)
RANDOM_CHANGES = 0.3
"""The share of neighbours of two kinds (a letter, a capital, a digit) from which on a word is
random.

A random word has 0.4 (letters and digits) to 0.65 (with capitals), a name such as
`ShopBackups2026` less than 0.25.
"""
_VARIABLE = re.compile(r"[A-Z]+[0-9]{0,2}(_([A-Z]+[0-9]{0,2}|[0-9]{1,4}))*")
"""A variable as people name it, in capitals. A password looks like this only on purpose."""
_FILE = re.compile(r"[\w./\\:~ +,=@()-]{1,255}")
_ID = re.compile(r"[\w .@+=\x80-\U0010ffff-]{1,100}")
"""An id of the service, its beginning, or a name that people give a database."""
NOT_A_PLACE = "must be a place, and this is a secret, which everyone could read in the place's name"
"""What is wrong with a secret for the name of a file or a folder to write."""


def looks_secret(value: str) -> bool:
    """Tell whether a value is probably a secret.

    Args:
        value: What a user typed or wrote into a program.

    Returns:
        True for a private key of age, a connection string with a password, and random text.
    """
    return spells_secret(value) or any(map(_is_random, _WORD.findall(value)))


def spells_secret(value: str) -> bool:
    """Tell whether the form of a value shows that it is or holds a secret.

    Args:
        value: What a user typed or wrote into a program.

    Returns:
        True for a private key of age, and a connection string with a password.
    """
    return hide_secrets(value) != value


def hide_secrets(text: str) -> str:
    """Return a text without the secrets in it whose form shows what they are.

    Args:
        text: Whatever a person is about to read, or a file to keep.

    Returns:
        The text with `…` for each private key of age and each password in a connection string.
    """
    text = _PRIVATE_KEY.sub(rf"\1{HIDDEN}", text)
    text = _PASSWORD_IN_URL.sub(rf"\1{HIDDEN}@", text)
    return _PASSWORD_IN_KEYWORDS.sub(rf"\1{HIDDEN}", text)


def hide_word(text: str, secret: str) -> str:
    """Return a text without a secret that is known.

    Args:
        text: A library's message, which may quote the secret.
        secret: The secret. A short one is hidden only if it stands alone, so that hiding it
            garbles no other words.

    """
    if not secret:
        return text
    if len(secret) >= SHORT_WORD:
        return text.replace(secret, HIDDEN)
    return re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", HIDDEN, text)


def shown_variable(name: str) -> str:
    """Return the name of an environment variable as a text shows it.

    Args:
        name: What was typed for the name, which may be the secret itself.

    Returns:
        The name if it has the usual form (`PGPASSWORD`, `SHOP_DB_URL`), or else its first
            characters.

    """
    is_usual = _VARIABLE.fullmatch(name) and not looks_secret(name)
    return name if is_usual else shortened(name)


def shown_file(path: object) -> str:
    """Return the name of a file as a text shows it.

    Args:
        path: What was typed for the file, which may be the secret itself.

    Returns:
        The name if it has the usual form, or else its first characters: of an absolute path those
        of its last part.
    """
    text = str(path)
    if _FILE.fullmatch(text) and not looks_secret(text):
        return text
    is_absolute = text.startswith("/")
    return shortened(text.rstrip("/").rpartition("/")[2] if is_absolute else text)


def shown_id(typed: str) -> str:
    """Return the id of a database or a version as a text shows it.

    Args:
        typed: What was typed for the id, which may be a secret.

    Returns:
        The id if it has a usual form, or else its first characters. A version id that is random,
        as some are, looks like a secret: show it whole once a listing has it.
    """
    is_usual = _ID.fullmatch(typed) and not looks_secret(typed)
    return typed if is_usual else shortened(typed)


def shortened(value: str) -> str:
    """Return the first characters of a value, at most a third of it.

    Args:
        value: a value that may be a secret.
    """
    count = min(SHOWN_CHARACTERS, len(value) // 3)
    return f"{value[:count]}{HIDDEN}"


def _is_random(word: str) -> bool:
    if _DIGEST.fullmatch(word):
        return False
    kinds = word.translate(_KIND_OF_CHARACTER)
    changes = sum(one != other for one, other in pairwise(kinds))
    return changes >= RANDOM_CHANGES * (len(word) - 1)
