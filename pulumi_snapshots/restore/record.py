"""A restore: its inputs, and what the state keeps of it. Loads no HTTP stack.

What is kept of a restore: `RestoreRecord` in the state; the request and its outcome in the ledger,
for 30 days; with `keep_current`, a snapshot of what the restore has overwritten (`undo.py`).
"""

from collections.abc import Callable
from typing import Any

from pulumi_snapshots.errors import Message
from pulumi_snapshots.ledger.attempt import Request
from pulumi_snapshots.properties import checks
from pulumi_snapshots.properties.catalogue import (
    Duration,
    Inputs,
    Moment,
    Record,
    ResourceSchema,
    Values,
    declare,
    declare_database,
)
from pulumi_snapshots.run.memory import id_at
from pulumi_snapshots.snapshot.record import DATABASE_ENGINE, NAMED_BY

RESTORE_TIMEOUT = 15 * 60.0
"""Seconds. A restore takes about 60 s, and can wait minutes for others of its account."""
RESTORE_PURPOSE = "restore a snapshot of"
SUCCESS = "success"
"""The outcome of a restore that did not fail; also the service's word."""


def said(because: str) -> Callable[[object], bool]:
    """Make the reader of an input that must be true, so that no data is overwritten by mistake.

    Args:
        because: What would happen, for the error.

    Returns:
        The reader: it returns True for True, and raises `Unfit` for anything else.
    """

    def read(given: object) -> bool:
        if given is True:
            return True
        # The engine prints the text "true" just as it prints true.
        a_text = (
            ", not a text (read it from the config as a boolean)"
            if isinstance(given, str)
            else ""
        )
        raise checks.Unfit(f"must be true{a_text}: {because}")

    return read


class RestoreInputs(Inputs):
    """The inputs of a restore; durations in seconds."""

    database_id: str = declare_database(
        "The database whose snapshot is restored.", RESTORE_PURPOSE, replaces=True
    )
    version_id: str = declare(
        "The snapshot's version id.",
        read=checks.version_id,
        needed="which snapshot (a Snapshot that is pending has none yet)",
    )
    target_database_id: str | None = declare(
        "The database to overwrite, of the same engine; the snapshot's own unless given. Another "
        "database restores again.",
        default=None,
        read=checks.database_id("restore onto"),
        replaces=True,
    )
    overwrite: bool = declare(
        "Must be true, else the preview fails: everything that the database holds is overwritten.",
        read=said(
            "a restore overwrites everything that the database holds, with nothing to undo it but "
            "another snapshot"
        ),
        kw_only=True,
    )
    triggers: list[Any] | None = declare(
        "Any values. Changed values restore again.",
        default=None,
        read=checks.triggers,
        replaces=True,
        kw_only=True,
        shown=True,
    )
    timeout: Duration = declare(
        "How long the restore may take, and each later run that resumes it. The "
        "resource's custom timeout for "
        "creates wins.",
        default=RESTORE_TIMEOUT,
        read=checks.timeout,
        kw_only=True,
    )
    keep_current: bool = declare(
        "Whether to take a snapshot of what the database holds first, to undo the restore. If "
        "it cannot be taken, nothing is restored. `timeout` counts from then on.",
        default=False,
        kw_only=True,
        shown=True,
    )
    name: str | None = declare(
        "The snapshot's storage object, as a Snapshot or a lookup gives it; looked up unless "
        "given.",
        default=None,
        kept=False,
    )
    runtime: str | None = declare(
        "The snapshot's engine, as a Snapshot or a lookup gives it: it must fit the database.",
        default=None,
        kept=False,
        choices=DATABASE_ENGINE,
    )
    created_at: Moment | None = declare(
        "When the snapshot was taken, as a Snapshot or a lookup gives it. The "
        "line about the restore shows it.",
        default=None,
        kept=False,
        read=checks.moment,
    )

    @classmethod
    def problems(cls, values: Values) -> list[checks.Problem]:
        """All problems of these values, also that no snapshot is given."""
        return with_snapshot_missing(super().problems(values), values)

    @property
    def target(self) -> str:
        """The database whose data is overwritten."""
        return self.target_database_id or self.database_id

    @property
    def snapshot(self) -> str:
        """The snapshot's id, as DATABASE_ID/VERSION_ID."""
        return f"{self.database_id}/{self.version_id}"


def with_snapshot_missing(
    found: list[checks.Problem], values: Values
) -> list[checks.Problem]:
    """Replace the problems of inputs that name no snapshot by a problem that says so.

    Args:
        found: The problems that the inputs have one by one.
        values: The inputs.

    Returns:
        The problems as they are if an input names a snapshot; else that none does, and the problems
        of the other inputs.
    """
    if any(values.get(name) is not None for name in NAMED_BY):
        return found
    missing = checks.Problem(
        "snapshot",
        Message("is required: a Snapshot, or {database_id} and {version_id}"),
    )
    return [missing, *(one for one in found if one.property not in NAMED_BY)]


class RestoreRecord(Record):
    """A snapshot that is restored into a database, once, over everything that it holds.

    `pulumi up` sends one request and waits until the service says that it succeeded, and the
    database runs. Afterwards only other triggers, or another target, restore again. A changed
    snapshot alone restores nothing and warns; neither does a refresh, nor the end of the snapshot's
    30 days, nor deleting the resource.
    """

    database_id: str = declare("The database whose snapshot was restored.")
    version_id: str = declare("The snapshot's version id.")
    target_database_id: str = declare("The database that was overwritten.")
    requested_at: Moment = declare("When the request was sent, by the service's clock.")
    restored_at: Moment | None = declare(
        "When the database was seen running again, by the service's clock; absent until then.",
        default=None,
        settled=True,
    )
    attempt: Request | None = declare(
        "The request, until the database was seen running again.", default=None
    )
    previous: str | None = declare(
        "With `keep_current`, the snapshot of what the database held before, as "
        "DATABASE_ID/VERSION_ID: restoring it undoes the restore.",
        default=None,
    )

    @property
    def id(self) -> str:
        """`DATABASE_ID/restore:TIME`, of the overwritten database and the time of the POST."""
        return id_at(self.target_database_id, "restore:", self.requested_at)

    @property
    def snapshot(self) -> str:
        """The snapshot's id."""
        return f"{self.database_id}/{self.version_id}"

    @property
    def pending(self) -> bool:
        """Whether the restore's end was not seen yet, or the restore failed."""
        return self.restored_at is None

    @property
    def failure(self) -> str | None:
        """The code with which the restore failed; None if no failure is known."""
        outcome = self.attempt.outcome if self.attempt else None
        return None if outcome == SUCCESS else outcome


def time_out_beyond(age: float) -> str:
    """Return a time-out with which a command watches a restore to its end.

    Args:
        age: How many seconds ago the restore was requested.

    Returns:
        A duration in whole hours, such as `3h`, at least an hour longer than the age.
    """
    return f"{int(age // 3600) + 2}h"


def another_snapshot(record: RestoreRecord) -> str:
    """Warn that the program names another snapshot than the one that was restored.

    Args:
        record: The restore in the state.

    Returns:
        The warning.
    """
    return (
        "the snapshot changed; set triggers to restore again. What was requested at "
        f"{record.requested_at} for database "
        f"{record.target_database_id} is {record.snapshot}, and a Restore acts once."
    )


RESTORE = ResourceSchema(
    "Restore",
    RestoreInputs,
    RestoreRecord,
    scopes=("snapshots:read", "snapshots:write", "databases:read"),
)
