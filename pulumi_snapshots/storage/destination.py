"""The place of an object: which store, which name, whether it is a folder.

This module loads no HTTP stack.
"""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pulumi_snapshots.errors.secrets import NOT_A_PLACE, spells_secret
from pulumi_snapshots.properties.checks import Unfit

BUCKETS = ("s3", "gs", "az")  # schemes of stores with buckets
LIBRARY = "obstore"
"""The library for buckets."""
EXTRA = "archive"
"""The extra of this package that brings the library."""
PLACE_FORMS = "must be a path, or a URI of file://, s3://, gs:// or az://"
_SLIP = re.compile(r"(file|s3|gs|az|arn|https?)(:|//)", re.IGNORECASE)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]+")


def name_of(uri: str) -> str:
    """Return the name of an object in its folder, as the store has it.

    Args:
        uri: the object's URI.
    """
    return place_text(uri).rpartition("/")[2]


def place_text(uri: str) -> str:
    """Format a place for messages: the path of a file on this machine, the URI of anything else.

    Args:
        uri: the place's URI.

    Returns:
        The text.
    """
    return unquote(urlsplit(uri).path) if uri.startswith("file://") else uri


@dataclass(frozen=True)
class Destination:
    """A checked place of an object, or a folder, in which an object gets a name.

    Attributes:
        scheme: `file`, or that of a bucket.
        path: the file's, or bucket and key.
        folder: whether it is a folder.
    """

    scheme: str
    path: str
    folder: bool = False

    @classmethod
    def parse(cls, text: str) -> Destination:
        """Parse a destination that a user wrote.

        Args:
            text: a path, or a URI of `file://`, `s3://`, `gs://` or `az://`; a final slash means a
                folder.

        Returns:
            The destination.

        Raises:
            Unfit: the text cannot be a place for an archive.

        Example:
            >>> Destination.parse("s3://backups/shop/").uri
            's3://backups/shop'
        """
        categories = {unicodedata.category(character)[0] for character in text}
        if not text.strip() or "C" in categories:  # control characters
            raise Unfit(PLACE_FORMS)
        place = cls._parse(text)
        if spells_secret(text):
            raise Unfit(NOT_A_PLACE)
        return place

    @classmethod
    def _parse(cls, text: str) -> Destination:
        scheme, is_uri, rest = text.partition("://")
        if scheme == "file" or not is_uri:
            return cls._file(text, is_uri=bool(is_uri))
        if scheme not in BUCKETS:
            raise Unfit(PLACE_FORMS, text)
        return cls._in_bucket(scheme, rest)

    @classmethod
    def _in_bucket(cls, scheme: str, rest: str) -> Destination:
        bucket, slash, key = rest.partition("/")
        if not slash or not _BUCKET.fullmatch(bucket):
            # Without the value: some write a key and its secret there.
            raise Unfit(
                f"must be {scheme}://BUCKET/NAME, or {scheme}://BUCKET/FOLDER/ with a final slash"
            )
        # The stores' libraries read these segments in different ways.
        both_forms = f"{key.removesuffix('/')}/{unquote(key).removesuffix('/')}"
        odd_segments = {"", ".", ".."} & {*re.split(r"[/\\]", both_forms)}
        if "?" in key or "#" in key or (key and odd_segments):
            raise Unfit("must hold no ?, #, empty segment, `.` or `..` as a segment")
        return cls(
            scheme,
            f"{bucket}/{key}".removesuffix("/"),
            folder=not key or key.endswith("/"),
        )

    @classmethod
    def _file(cls, text: str, *, is_uri: bool) -> Destination:
        path = text
        if _SLIP.match(text) and not is_uri:
            raise Unfit(PLACE_FORMS, text)
        if is_uri:
            parts = urlsplit(text)
            if (
                parts.netloc not in {"", "localhost"}
                or not parts.path
                or parts.query
                or parts.fragment
            ):
                raise Unfit(
                    "must be file:///PATH, with an absolute path of this machine"
                )
            path = unquote(parts.path)
        try:
            home = str(Path(path).expanduser())
        except RuntimeError:
            reason = "must begin with a home folder that this machine knows"
            raise Unfit(reason, path) from None
        # By the text alone, so that two spellings of one place are equal.
        return cls("file", os.path.normpath(home), folder=path.endswith("/"))

    def holding(self, name: str) -> Destination:
        """Return the place of an object in this folder.

        Args:
            name: the object's name.
        """
        return Destination(self.scheme, f"{self.path.removesuffix('/')}/{name}")

    @property
    def file(self) -> Path:
        """The file on this machine, absolute."""
        return Path(self.path).absolute()

    @property
    def uri(self) -> str:
        """The URI: of a bucket as its own tools write it, of a file percent-encoded."""
        if self.scheme == "file":
            return self.file.as_uri()
        return f"{self.scheme}://{self.path}"
