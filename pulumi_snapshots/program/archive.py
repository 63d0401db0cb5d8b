"""The `Archive` resource, as programs declare it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi

from pulumi_snapshots.archive.record import ARCHIVE
from pulumi_snapshots.program import Declared

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pulumi_snapshots.archive.record import Keep
    from pulumi_snapshots.lookup.results import SnapshotInfo
    from pulumi_snapshots.program.snapshot import Snapshot


class Archive(Declared):
    """A snapshot's zip in storage of your own, beyond the 30 days that the service keeps it."""

    schema = ARCHIVE

    database_id: pulumi.Output[str | None]
    version_id: pulumi.Output[str]
    size: pulumi.Output[int]
    uri: pulumi.Output[str]
    sha256: pulumi.Output[str]
    plain_size: pulumi.Output[int | None]
    plain_sha256: pulumi.Output[str | None]
    unproved: pulumi.Output[str | None]
    created_at: pulumi.Output[str | None]
    archived_at: pulumi.Output[str]

    def __init__(  # noqa: PLR0913  each is an input of the resource
        self,
        resource_name: str,
        snapshot: Snapshot
        | SnapshotInfo
        | pulumi.Output[SnapshotInfo | None]
        | None = None,
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
            source["download_url"] = pulumi.Output.from_input(url).apply(
                lambda it: it and pulumi.Output.secret(it)
            )
        self._declare(locals(), source)
