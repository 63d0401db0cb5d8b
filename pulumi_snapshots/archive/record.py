"""What is known of one archive, as the state keeps it. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ArchiveRecord", "StoredObject"]


@dataclass(frozen=True)
class StoredObject:
    """One object that this resource has written.

    Attributes:
        uri: where it is.
        mark: what tells it from another object of the same name; the store's own, opaque.
    """

    uri: str
    mark: str


@dataclass(frozen=True)
class ArchiveRecord:
    """The outputs of an archive.

    Attributes:
        uri: of the object.
        size: bytes.
        sha256: of the object, hexadecimal.
        archived_at: when it was whole; RFC 3339, UTC, by this machine's clock.
        database_id: whose snapshot it holds; None where only a URL was given that does not tell.
        version_id: which one.
        mark: what tells the object from another one of the same name.
        lost: why it must be archived again, as a refresh has found it (`missing`, `altered`); None while it is there.
        earlier: this resource's objects before this one, newest first, for `keep_last`.
    """

    uri: str
    size: int
    sha256: str
    archived_at: str
    database_id: str | None
    version_id: str
    mark: str
    lost: str | None = None
    earlier: tuple[StoredObject, ...] = ()

    @property
    def id(self) -> str:
        """The resource's id."""
        return self.uri

    @property
    def object(self) -> StoredObject:
        """The object itself."""
        return StoredObject(self.uri, self.mark)

    def to_outputs(self) -> dict[str, Any]:
        """As the state keeps it, in plain values."""
        outputs = {each.name: getattr(self, each.name) for each in fields(self)}
        outputs["earlier"] = [{"uri": each.uri, "mark": each.mark} for each in self.earlier]
        return outputs

    @classmethod
    def from_outputs(cls, outputs: Mapping[str, Any]) -> ArchiveRecord:
        """From the state, which gives whole numbers back as floats and drops what is None."""
        known = {each.name: outputs.get(each.name) for each in fields(cls)}
        known["size"] = int(outputs["size"])
        known["earlier"] = tuple(StoredObject(each["uri"], each["mark"]) for each in outputs.get("earlier") or ())
        return cls(**known)  # type: ignore[arg-type]  # the state holds what to_outputs wrote
