"""What is known of one restore, as the state keeps it. It loads no HTTP stack."""

from __future__ import annotations

from pulumi_snapshots.ledger.attempt import Request
from pulumi_snapshots.properties.catalogue import Moment, Record, ResourceSchema, declare
from pulumi_snapshots.restore.inputs import RestoreInputs

SUCCESS = "success"
"""The outcome of a restore that did not fail; also the service's word."""


class RestoreRecord(Record):
    """A snapshot put back into a database, over everything that the database holds; once, when it is created.

    `pulumi up` sends one request and waits until the service says that it succeeded, and the database runs. Afterwards
    only other triggers, or another target, restore again. A changed snapshot alone restores nothing and warns; neither
    does a refresh, nor the end of the snapshot's 30 days, nor deleting the resource.
    """

    database_id: str = declare("The database whose snapshot was put back.")
    version_id: str = declare("The snapshot's version id.")
    target_database_id: str = declare("The database that was overwritten.")
    requested_at: Moment = declare("When the request was sent, by the service's clock.")
    restored_at: Moment | None = declare(
        "When the database was seen running again, by the service's clock; absent until then.",
        default=None,
        settled=True,
    )
    attempt: Request | None = declare("The request, only until then.", default=None)

    @property
    def id(self) -> str:
        """`DATABASE_ID/restore:TIME`, of the database that was overwritten and the time of the POST."""
        return f"{self.target_database_id}/restore:{self.requested_at.replace('-', '').replace(':', '')}"

    @property
    def snapshot(self) -> str:
        """The snapshot's id."""
        return f"{self.database_id}/{self.version_id}"

    @property
    def pending(self) -> bool:
        """Whether its end was not seen yet, or it failed."""
        return self.restored_at is None

    @property
    def failure(self) -> str | None:
        """The code with which it failed; None if it did not, as far as is known."""
        outcome = self.attempt.outcome if self.attempt else None
        return None if outcome == SUCCESS else outcome


def another_snapshot(record: RestoreRecord) -> str:
    """The warning if the program names another snapshot than the one that was restored."""
    return (
        f"the snapshot changed; set triggers to restore again. What was requested at {record.requested_at} for database "
        f"{record.target_database_id} is {record.snapshot}, and a Restore acts once."
    )


RESTORE = ResourceSchema("Restore", RestoreInputs, RestoreRecord)
