"""The `Archive` resource, as programs declare it, whichever provider makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi

from pulumi_snapshots.archive.record import ARCHIVE
from pulumi_snapshots.program import Declared

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pulumi_snapshots.archive.inputs import Keep
    from pulumi_snapshots.lookup.results import SnapshotInfo
    from pulumi_snapshots.program.snapshot import SnapshotDeclaration


class ArchiveDeclaration(Declared):
    """A snapshot's zip in storage of your own, beyond the 30 days that the service keeps it.

    `pulumi up` streams it there, resumes a transfer that breaks off, and lets the object appear under its name only once
    it is whole and verified. Another version is another object; a new signature of the same version changes nothing.

    Args:
        resource_name: the resource's name in the program.
        snapshot: the Snapshot to archive, or what a lookup has found; instead of it `database_id` and `version_id`, or
            `download_url` alone.
        destination: a path of the machine that runs `pulumi`, or a URI of `file://`, `s3://`, `gs://` or `az://`. With
            a final `/` it is a folder, in which the object is named `DATABASE_ID/CREATED_AT-VERSION_ID.zip`.
        database_id: the database whose snapshot it is.
        version_id: the snapshot's version id.
        download_url: signed and pinned to a version, such as another stack's output; alone it needs no API key. A
            secret.
        keep_last: how many objects of this resource to keep; older ones are removed once a new one is whole. All unless
            given.
        keep: which objects of this resource to keep, in tiers, instead of `keep_last`; others are removed once a new one
            is whole.
        pin: whether the object is kept for good, whatever `keep` and `keep_last` say.
        recipients: public keys of age (`age1…`): the object is encrypted for them, and only their private keys open it.
            Changed recipients archive again.
        delete_object: whether deleting or replacing the resource deletes its object; it is kept unless given.
        timeout: how long the transfer may take. The resource's custom timeout for creates wins. 1h unless given. A
            string such as `90s`, `45m`, `1h30m`, `7d`, or a number of seconds.
        opts: as for every resource.

    Raises:
        pulumi.RunError: what to archive is not given, or given twice.
    """

    schema = ARCHIVE

    database_id: pulumi.Output[str | None]
    version_id: pulumi.Output[str]
    size: pulumi.Output[int]
    uri: pulumi.Output[str]
    sha256: pulumi.Output[str]
    plain_size: pulumi.Output[int | None]
    plain_sha256: pulumi.Output[str | None]
    created_at: pulumi.Output[str | None]
    archived_at: pulumi.Output[str]

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
        keep: pulumi.Input[Keep | Mapping[str, pulumi.Input[int]]] | None = None,
        pin: pulumi.Input[bool] | None = None,
        recipients: pulumi.Input[Sequence[pulumi.Input[str]]] | None = None,
        delete_object: pulumi.Input[bool] | None = None,
        timeout: pulumi.Input[str | float] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        source = self._source(locals())
        if (url := source.get("download_url")) is not None:
            # What a lookup has found without a URL has None in an output.
            source["download_url"] = pulumi.Output.from_input(url).apply(lambda it: it and pulumi.Output.secret(it))
        self._declare(locals(), source)
