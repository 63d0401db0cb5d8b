"""How a restore can end without what it was to bring; the texts that users read then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_snapshots.errors.outcomes import Unresolved

if TYPE_CHECKING:
    from pulumi_snapshots.restore.record import RestoreRecord

__all__ = ["RestorePending", "RestoreRefused", "restore_forgotten", "restore_still_pending"]


class RestorePending(Unresolved["RestoreRecord"]):
    """The restore was started, or may have been, and its end was not seen. It must be kept."""

    def reason(self, resource: str | None) -> str:
        """The paragraph for the user."""
        next_up = (
            "It stays in the state as unknown: check the database, then take the Restore out of the program if it was "
            "carried out."
            if self.undecided
            else "It is kept in the state: the next `pulumi up` goes on watching the database and sends no second request."
        )
        return (
            f"{self.happened} {next_up} `pulumi up --replace '{resource or 'URN'}'` restores again, over whatever the "
            "database holds by then."
        )

    def reason_unkept(self, resource: str | None) -> str:
        """The same where there is no way to keep it in the state."""
        here = (
            "The next `pulumi up` on this machine watches the database all the same; one elsewhere"
            if resource
            else "The next `pulumi up`"
        )
        return (
            f"{self.happened} The installed Pulumi SDK has no known way to keep it in the stack's state. {here} restores "
            "again, over whatever the database holds by then: take the Restore out of the program first."
        )


class RestoreRefused(Exception):
    """A restore that must not be sent; the text says why."""


def restore_still_pending(record: RestoreRecord) -> str:
    """What a refresh says of a restore whose end was not seen."""
    return (
        f"what database {record.target_database_id} holds is not known: the end of the restore that was requested at "
        f"{record.requested_at} was not seen. `pulumi up` goes on watching the database."
    )


def restore_forgotten(record: RestoreRecord) -> str:
    """What a delete says: nothing is sent, so the database keeps what it holds."""
    return f"forgotten: the restore of {record.snapshot}; database {record.target_database_id} keeps what it holds"
