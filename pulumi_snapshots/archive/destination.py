"""Where an archive goes, as text: which store, which name, whether it is a folder. Standard library only; asks nobody."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from pulumi_snapshots.properties.unfit import Unfit

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["LIBRARIES", "Destination", "object_name"]

LIBRARIES = {"s3": ("s3fs", "s3"), "gs": ("gcsfs", "gcs"), "az": ("adlfs", "azure")}
"""By scheme: the fsspec library of the store, and the extra of this package that brings it."""
MUST_BE = "must be a path, or a URI of file://, s3://, gs:// or az://"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SLIP = re.compile(r"(file|s3|gs|az):")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Destination:
    """A checked destination.

    Attributes:
        scheme: `file`, `s3`, `gs` or `az`.
        path: of a file as given, else bucket and key; without the final `/` of a folder.
        folder: whether a name is to be appended.
    """

    scheme: str
    path: str
    folder: bool = False

    @classmethod
    def parse(cls, text: str) -> Destination:
        """Take a destination apart.

        Raises:
            Unfit: it is none.
        """
        if not text.strip() or any(unicodedata.category(character).startswith("C") for character in text):
            raise Unfit(MUST_BE)
        if {".."} & set(re.split(r"[/\\]", text)) or {".."} & set(re.split(r"[/\\]", unquote(text))):
            raise Unfit("must not hold `..` as a segment")
        found = _SCHEME.match(text)
        scheme = found[1] if found else "file"
        if found is None and ("://" in text or _SLIP.match(text)):
            raise Unfit(MUST_BE, text)
        if scheme == "file":
            return cls._file(text, is_uri=found is not None)
        if scheme not in LIBRARIES:
            raise Unfit(MUST_BE, text)
        bucket, slash, key = text.partition("://")[2].partition("/")
        if not _BUCKET.fullmatch(bucket) or not slash:
            raise Unfit(f"must be {scheme}://BUCKET/NAME, or {scheme}://BUCKET/FOLDER/ with a final slash")
        # Each of these is read in different ways by the stores' libraries.
        if "?" in key or "#" in key or {"", "."} & set(key.removesuffix("/").split("/")[: None if key else 0]):
            raise Unfit("must hold no ?, #, empty segment or `.` as a segment")
        return cls(scheme, f"{bucket}/{key}".removesuffix("/"), folder=not key or key.endswith("/"))

    @classmethod
    def _file(cls, text: str, *, is_uri: bool) -> Destination:
        path = text
        if is_uri:
            parts = urlsplit(text)
            if parts.netloc not in {"", "localhost"} or not parts.path or parts.query or parts.fragment:
                raise Unfit("must be file:///PATH, with an absolute path of this machine")
            path = unquote(parts.path)
        try:
            Path(path).expanduser()
        except RuntimeError:
            raise Unfit("must begin with a home folder that this machine knows", path) from None
        folder = path.endswith("/")
        # As Path sees it, so that two spellings of one place are no difference.
        return cls("file", str(Path(path)), folder)

    @property
    def missing_extra(self) -> str | None:
        """What is to be installed for this store; None where all is there."""
        library, extra = LIBRARIES.get(self.scheme, (None, None))
        if library is None or find_spec(library) is not None:
            return None
        return f"needs {library}, which is not installed: pip install 'pulumi-snapshots[{extra}]'"

    def named(self, name: str) -> Destination:
        """The object in this folder; itself where it is none."""
        return Destination(self.scheme, f"{self.path.removesuffix('/')}/{name}") if self.folder else self

    @property
    def file(self) -> Path:
        """The file on this machine, absolute."""
        return Path(self.path).expanduser().absolute()

    @property
    def uri(self) -> str:
        """Always a URI; of a bucket as its own tools write it, of a file percent-encoded."""
        return self.file.as_uri() if self.scheme == "file" else f"{self.scheme}://{self.path}"


def object_name(database_id: str, version_id: str, created: datetime) -> str:
    """The name in a folder: `DATABASE_ID/CREATED_AT-VERSION_ID.zip`."""
    return f"{database_id}/{created.astimezone(UTC):%Y%m%dT%H%M%SZ}-{quote(version_id, safe='')}.zip"
