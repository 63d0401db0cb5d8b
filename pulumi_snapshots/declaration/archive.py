"""The `Archive` resource, as programs declare it, whichever way it reaches the engine."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import pulumi

from pulumi_snapshots.declaration import archive_source, create_timeout, warn_of_plain_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi_snapshots.declaration.snapshot import SnapshotDeclaration
    from pulumi_snapshots.lookup.results import SnapshotInfo

__all__ = ["ARCHIVE_OUTPUTS", "ArchiveDeclaration"]

ARCHIVE_OUTPUTS = ("uri", "size", "sha256", "archived_at", "database_id", "version_id")


class ArchiveDeclaration(pulumi.CustomResource):
    """A snapshot's zip in storage of your own, beyond the 30 days that the service keeps it.

    `pulumi up` streams it there, resumes a transfer that breaks off, and lets the object appear under its name only once
    it is whole and verified. Another version is another object; a new signature of the same version changes nothing.

    Args:
        resource_name: the resource's name in the program.
        snapshot: the Snapshot to archive, or what a lookup has found; instead of it `database_id` and `version_id`, or
            `download_url` alone.
        destination: a path of the machine that runs `pulumi`, or a URI of `file://`, `s3://`, `gs://` or `az://`. One
            that ends in `/` is a folder, in which the object is named `DATABASE_ID/CREATED_AT-VERSION_ID.zip`.
        database_id: whose snapshot it is.
        version_id: which one.
        download_url: signed and pinned to a version, such as another stack's output; needs no API key.
        keep_last: so many objects of this resource are kept; older ones are removed once a new one is whole. All
            unless given.
        delete_object: whether deleting the resource deletes its object; it is kept unless given.
        timeout: of the whole transfer; an hour unless given. `custom_timeouts` wins.
        opts: as for every resource.

    Raises:
        pulumi.RunError: what to archive is not given, or given twice.
    """

    uri: pulumi.Output[str]
    """Where the object is, always a URI."""
    size: pulumi.Output[int]
    """Bytes."""
    sha256: pulumi.Output[str]
    """Of the object, hexadecimal."""
    archived_at: pulumi.Output[str]
    """When it was whole, RFC 3339, UTC, by this machine's clock."""
    database_id: pulumi.Output[str | None]
    """Whose snapshot it holds; None where a URL alone does not tell."""
    version_id: pulumi.Output[str]
    """Which one."""

    def __init__(  # noqa: PLR0913  each is an input of the resource
        self,
        resource_name: str,
        snapshot: SnapshotDeclaration | SnapshotInfo | pulumi.Output[SnapshotInfo | None] | None = None,
        *,
        destination: pulumi.Input[str],
        database_id: pulumi.Input[str] | None = None,
        version_id: pulumi.Input[str] | None = None,
        download_url: pulumi.Input[str] | None = None,
        keep_last: pulumi.Input[int] | None = None,
        delete_object: pulumi.Input[bool] | None = None,
        timeout: pulumi.Input[str | float] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        source = archive_source(resource_name, snapshot, database_id, version_id, download_url)
        custom, opts = create_timeout(opts)
        inputs = {
            **source,
            "destination": destination,
            "keep_last": keep_last,
            "delete_object": delete_object,
            "timeout": timeout if custom is None else custom,
        }
        self._register(resource_name, inputs, opts)
        warn_of_plain_key(self)

    @abstractmethod
    def _register(self, resource_name: str, inputs: Mapping[str, Any], opts: pulumi.ResourceOptions | None) -> None:
        """Tell the engine of it: the constructor of a resource."""
