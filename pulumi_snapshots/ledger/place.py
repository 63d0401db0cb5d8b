"""A place for the ledger's one document, and the setting that names it. Loads no HTTP stack."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode

from pulumi_snapshots.errors import Hint, HintKind, LedgerUnavailable, not_installed
from pulumi_snapshots.properties import checks
from pulumi_snapshots.storage.destination import EXTRA, LIBRARY, Destination

T = TypeVar("T")
Document = dict[str, Any]

FORMAT = "format"  # the document's key for its own format
NEWEST = 2  # the only format that this version writes and reads
DAMAGED = "it is damaged, or another program's", HintKind.MOVE_LEDGER_ASIDE
GONE = "it was moved or emptied while this run was under way", HintKind.PUT_LEDGER_BACK
OLDER = "an older version of this package has written it", HintKind.MOVE_LEDGER_ASIDE
NEWER_VERSION = (
    "a later version of this package has written it",
    HintKind.UPGRADE,
    HintKind.MOVE_LEDGER_ASIDE,
)
UNREADABLE = HintKind.UPGRADE, HintKind.MOVE_LEDGER_ASIDE
"""The next steps with what another version may have written."""
ATTEMPTS = "attempts"  # the document's key for attempts by their ids
QUOTA_USED_UP = "quota_used_up"
"""The document's key for when the daily quota is free again."""
AHEAD_HERE = "service_ahead"
"""The document's key for the seconds that the service's clock was ahead of this machine's, if no
other machine uses the document."""
BACKEND = "backend"  # the setting that stands for the backend in which Pulumi keeps the states
OWN = ".pulumi-snapshots"  # the folder of the ledger in such a backend
OPTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "s3": {
        "region": ("AWS_REGION",),
        "endpoint": ("AWS_ENDPOINT_URL_S3",),
        # A profile that is named wins over keys in the environment, as in Amazon's own tools.
        "profile": (
            "AWS_PROFILE",
            "-AWS_ACCESS_KEY_ID",
            "-AWS_WEB_IDENTITY_TOKEN_FILE",
        ),
    },
    "gs": {},
    "az": {
        "storage_account": (
            "AZURE_STORAGE_ACCOUNT_NAME",
            "-AZURE_STORAGE_CONNECTION_STRING",
        )
    },
}
"""What may follow a bucket after a `?`, as in Pulumi's URLs, and the variables that say the same;
`-` before the variables that it takes the place of."""
SAY_NOTHING = {
    "awssdk",
    "s3ForcePathStyle",
    "use_path_style",
    "hostname_immutable",
    "disableSSL",
    "disable_https",
    "rate_limiter_capacity",
    "request_checksum_calculation",
    "response_checksum_validation",
}
"""Options of Pulumi's library for S3 that do not say which bucket is meant."""


def packed(document: Document) -> bytes:
    """Serialise a document.

    Args:
        document: The document, without its format.

    Returns:
        JSON in UTF-8, which names the format `NEWEST`.
    """
    return json.dumps({FORMAT: NEWEST, **document}, separators=(",", ":")).encode()


class Place(ABC):
    """A place for one document, which several processes read and edit."""

    where: str  # the file's path, or the object's URI
    is_shared: bool  # whether several machines share the place

    @abstractmethod
    async def read(self) -> Document:
        """Read the document.

        Returns:
            The document, without its format; an empty one if there is none yet.

        Raises:
            LedgerUnavailable: The document cannot be read, or another version has written it.
        """

    @abstractmethod
    async def edit(self, change: Callable[[Document], T]) -> T:
        """Read the document, let `change` modify it, and write it durably if it differs.

        Args:
            change: Modifies the document in place. It is called in the event loop, and again if
                another writer was faster, or if it is not known whether the document was written,
                so that a change made twice has to end as a change made once: the function must not
                wait, and has no effect but its result. If it raises, nothing is written.

        Returns:
            The result of the last call of `change`.

        Raises:
            LedgerUnavailable: The document cannot be read or written.

        Example:
            >>> def mark(document: Document) -> bool:
            ...     is_first = "marked" not in document
            ...     document["marked"] = True
            ...     return is_first
            >>> await place.edit(mark)
            True
        """

    def parsed(self, data: bytes | str) -> Document:
        """Parse a serialised document.

        Args:
            data: What the place holds.

        Returns:
            The document, without its format.

        Raises:
            LedgerUnavailable: The document must stay as it is: damaged, or of another version.
        """
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):  # the latter from deeply nested brackets
            document = None
        if not isinstance(document, dict):
            raise self.unavailable(*DAMAGED)
        written = document.pop(FORMAT, 0)
        if not isinstance(written, int) or written > NEWEST:
            raise self.unavailable(*NEWER_VERSION)
        if written < NEWEST:
            raise self.unavailable(*OLDER)
        return document

    def unavailable(self, why: str, *then: Hint | HintKind) -> LedgerUnavailable:
        """Make the error for a place that cannot be used.

        Args:
            why: The reason, a clause about the place.
            then: The next steps; a `HintKind` is about the place's own file.

        Returns:
            The error, to be raised.
        """
        steps = [
            each if isinstance(each, Hint) else Hint(each, file=self.where)
            for each in then
        ]
        return LedgerUnavailable(self.where, why, steps, is_shared=self.is_shared)


def read_place(given: object) -> str:
    """Check the setting that names a shared place.

    Args:
        given: What the configuration says.

    Returns:
        `backend`, a bucket's URI with its options in the order of their names, or the path of a
        folder without a final slash.

    Raises:
        Unfit: It is none of these, or has options that this package cannot carry over, or the
            library for buckets is not installed.
    """
    text = checks.text(given).strip()
    if text == BACKEND:
        return text
    if "://" not in text and not text.startswith(("/", "~")):
        must_be = (
            "must be s3://BUCKET/PREFIX (or gs://, az://), the absolute path of a folder, or "
            "`backend`"
        )
        raise checks.Unfit(must_be, given)
    bare, options = _apart(text)
    place = destination_of(bare)
    if place.scheme == "file":
        with suppress(OSError):  # the first use of the folder says why
            if place.file.exists() and not place.file.is_dir():
                raise checks.Unfit("must be a folder, not a file", given)
        return str(place.file)
    unknown = sorted(options.keys() - OPTIONS[place.scheme].keys())
    if unknown:
        known = ", ".join(OPTIONS[place.scheme]) or "none"
        raise checks.Unfit(
            f"has options that cannot be carried over: {', '.join(unknown)} (known: {known})"
        )
    if find_spec(LIBRARY) is None:
        raise checks.Unfit(not_installed(LIBRARY, EXTRA))
    query = urlencode(sorted(options.items()))
    return f"{place.uri}?{query}".removesuffix("?")


def _apart(text: str) -> tuple[str, dict[str, str]]:
    """Take the options off a bucket's URI, spelled as here; return any other text as it is."""
    bare, _, query = text.replace("azblob://", "az://", 1).partition("?")
    if not bare.startswith(tuple(f"{scheme}://" for scheme in OPTIONS)):
        return text, {}
    given = dict(parse_qsl(query, keep_blank_values=True))
    options = {name: value for name, value in given.items() if name not in SAY_NOTHING}
    if "endpoint" in options and "://" not in options["endpoint"]:
        plain = "true" in {given.get("disableSSL"), given.get("disable_https")}
        options["endpoint"] = f"{'http' if plain else 'https'}://{options['endpoint']}"
    return bare, options


def destination_of(text: str) -> Destination:
    """Take a shared place apart.

    Args:
        text: A URI or path that `read_place` has checked.

    Returns:
        A folder, or a bucket with its prefix.

    Raises:
        Unfit: It is neither.
    """
    return Destination.parse(f"{_apart(text)[0].rstrip('/')}/")


def environment_of(text: str) -> dict[str, str]:
    """Return the variables that say what a shared place's options say.

    Args:
        text: A bucket's URI with its options.

    Returns:
        The values by the variables' names; an empty value means that the variable is to be ignored.
    """
    bare, options = _apart(text)
    variables = [
        (name, options[each])
        for each in options
        for name in OPTIONS[bare.partition("://")[0]][each]
    ]
    return {
        name.removeprefix("-"): "" if name.startswith("-") else value
        for name, value in variables
    }
