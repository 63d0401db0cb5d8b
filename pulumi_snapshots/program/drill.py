"""The `Drill` resource, as programs declare it, whichever provider makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pulumi

from pulumi_snapshots.drill.check import Check
from pulumi_snapshots.drill.record import DRILL
from pulumi_snapshots.program import Declared, naming_class
from pulumi_snapshots.program.archive import ArchiveDeclaration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pulumi_snapshots.lookup.results import SnapshotInfo
    from pulumi_snapshots.program.snapshot import SnapshotDeclaration

OnFailure = Literal["error", "warn"]

Check.__init__ = naming_class("Check", Check.__init__)  # type: ignore[method-assign]  # as for a resource


class DrillDeclaration(Declared):
    """Proof that a snapshot or an archive restores: it is put into a scratch database, and checks ask what came back.

    `pulumi up` sends one restore, waits until the service says that it succeeded, connects to the scratch database, and
    runs the checks. One that fails fails the update. Afterwards only another snapshot, other triggers, another scratch
    database or `every` drill again. Nothing that the program uses is written to but the scratch database. An archive is
    loaded without the service.

    Args:
        resource_name: the resource's name in the program.
        snapshot: the Snapshot to drill, or what a lookup has found; instead of it `database_id` and `version_id`.
        checks: what the restored database is asked, and what it must answer. Changed ones are run at once if the scratch
            database still holds the restore, otherwise with the next drill.
        archive: in place of a snapshot, the path or URI of an archive of one: it is loaded into the database of
            `connection`, at any host, by its engine's own programs. Another one is drilled.
        identity_file: the file of the private key that opens an encrypted archive, as `age-keygen` writes it, on the
            machine that runs `pulumi`.
        scratch_database_id: the database that is overwritten: yours, of the same engine, and for drills only. Required,
            unless an archive is drilled.
        overwrite_scratch: must be true, else the preview fails: everything that the scratch database holds is overwritten.
        password: the password of the scratch database, as the service shows it: host, port, user and client certificate
            follow from its id. For another user or another way there give `connection`. A secret.
        connection: how to connect to the scratch database, in place of `password`, such as
            `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`; its own parameters choose TLS. A secret.
        database_id: the database whose snapshot is drilled.
        version_id: the snapshot's version id. Another one is drilled.
        every: an update this long after the last drill drills again, also if nothing else has changed. A string such as
            `90s`, `45m`, `1h30m`, `7d`, or a number of seconds.
        triggers: any values. A change of any drills again.
        on_failure: what a drill that fails does: `error` fails the update, `warn` only warns. error unless given.
        timeout: how long the restore and the checks may take, and each resume again. The resource's custom timeout for
            creates wins. 30m unless given. A string such as `90s`, `45m`, `1h30m`, `7d`, or a number of seconds.
        opts: as for every resource.

    Raises:
        pulumi.RunError: which snapshot to drill is not given, or given twice.
    """

    schema = DRILL

    database_id: pulumi.Output[str]
    version_id: pulumi.Output[str]
    scratch_database_id: pulumi.Output[str]
    triggers: pulumi.Output[list[Any] | None]
    archive: pulumi.Output[str | None]
    requested_at: pulumi.Output[str]
    restored_at: pulumi.Output[str | None]
    drilled_at: pulumi.Output[str | None]
    restore_seconds: pulumi.Output[float | None]
    passed: pulumi.Output[bool]
    results: pulumi.Output[list[dict[str, Any]]]
    failure: pulumi.Output[str | None]
    proved_by: pulumi.Output[list[Any] | None]
    last_good: pulumi.Output[dict[str, Any] | None]
    attempt: pulumi.Output[dict[str, Any] | None]

    def __init__(  # noqa: PLR0913  each is an input of the resource
        self,
        resource_name: str,
        snapshot: SnapshotDeclaration | SnapshotInfo | pulumi.Output[SnapshotInfo | None] | None = None,
        *,
        checks: pulumi.Input[Sequence[pulumi.Input[Check | Mapping[str, Any]]]],
        archive: ArchiveDeclaration | pulumi.Input[str] | None = None,
        identity_file: pulumi.Input[str] | None = None,
        scratch_database_id: pulumi.Input[str] | None = None,
        overwrite_scratch: pulumi.Input[bool] | None = None,
        password: pulumi.Input[str] | None = None,
        connection: pulumi.Input[str] | None = None,
        database_id: pulumi.Input[str] | None = None,
        version_id: pulumi.Input[str] | None = None,
        every: pulumi.Input[str | float] | None = None,
        triggers: pulumi.Input[Sequence[pulumi.Input[Any]]] | None = None,
        on_failure: pulumi.Input[OnFailure] | None = None,
        timeout: pulumi.Input[str | float] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        source: dict[str, Any] | None = None
        if archive is not None:
            if snapshot is not None:
                raise pulumi.RunError(f"Drill {resource_name!r}: snapshot and archive are given. Give one of them.")
            source = {"archive": archive}
            if isinstance(archive, ArchiveDeclaration):
                names = {"archive": "uri", "database_id": "database_id", "version_id": "version_id"}
                source = {name: getattr(archive, output) for name, output in names.items()}
        self._declare(locals(), source)
