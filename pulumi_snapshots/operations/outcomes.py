"""How an operation can end without what it was to bring, besides the service's own errors; the texts that users read then."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from pulumi_snapshots.clock import rfc3339

if TYPE_CHECKING:
    from pulumi_snapshots.operations.record import SnapshotRecord
    from pulumi_snapshots.operations.restore_record import RestoreRecord

__all__ = [
    "OLD_CONFIGURATION",
    "CannotTell",
    "NoSuchSnapshot",
    "NothingSent",
    "Pending",
    "RestorePending",
    "RestoreRefused",
    "Unresolved",
    "forgotten",
    "not_listed",
    "restore_forgotten",
    "restore_still_pending",
    "sentence",
    "still_pending",
]


class _Record(Protocol):
    """What the state keeps."""

    @property
    def id(self) -> str: ...


R = TypeVar("R", bound=_Record)
OLD_CONFIGURATION = "A refresh uses the configuration of the last `pulumi up`: if it was changed since, run `pulumi refresh --run-program`."
"""What a refresh that fails over its key or settings must add: setting them right does not reach it."""


class Unresolved(Exception, Generic[R]):
    """Something was started, or may have been, and its end is not known. It must be kept.

    Args:
        record: what is known, to be kept under its provisional id.
        happened: what was sent, what came of it, and why the wait ended; sentences.
        undecided: whether going on to wait would only end the same way.
    """

    def __init__(self, record: R, happened: str, *, undecided: bool = False) -> None:
        super().__init__(happened)
        self.record = record
        self.happened = happened
        self.undecided = undecided

    @abstractmethod
    def reason(self, resource: str | None) -> str:
        """The paragraph for the user.

        Args:
            resource: the name to give to `--replace`; None where it is not known.
        """

    @abstractmethod
    def reason_unkept(self, resource: str | None) -> str:
        """The same where there is no way to keep it in the state.

        Args:
            resource: the resource's name, by which this machine remembers it; None where it is not known.
        """


class Pending(Unresolved["SnapshotRecord"]):
    """The snapshot was started, or may have been, and is not known yet. It must be kept."""

    def reason(self, resource: str | None) -> str:
        """The paragraph for the user."""
        next_up = (
            "It stays in the state as pending, and every `pulumi up` asks again."
            if self.undecided
            else "It is kept in the state: the next `pulumi up` goes on waiting and sends no second request."
        )
        return (
            f"{self.happened} {next_up} `pulumi up --replace '{resource or 'URN'}'` gives up on it instead, and may pay "
            "for one more."
        )

    def reason_unkept(self, resource: str | None) -> str:
        """The same where there is no way to keep it in the state."""
        here = (
            "the next `pulumi up` on this machine waits for it all the same, and one elsewhere"
            if resource
            else "the next `pulumi up`"
        )
        return (
            f"{self.happened} The installed Pulumi SDK has no known way to keep it in the stack's state: {here} "
            "takes another one, unless `reuse_within` lets it adopt this one."
        )


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


class NothingSent(Exception):
    """The time was over, or it was interrupted, before anything was started; there is nothing to keep."""


class NoSuchSnapshot(Exception):
    """A snapshot that was asked for by its id is not there."""


class CannotTell(Exception):
    """A lookup was answered, but not so that its question has a certain answer; the text says why, and what to do."""


def not_listed(database_id: str, version_id: str) -> str:
    """What to say of a snapshot that was asked for and that no listing shows."""
    return (
        f"The service lists no snapshot {version_id} of database {database_id}. It keeps one for 30 days; one that was "
        "taken within the last 30 minutes may not be listed yet."
    )


def sentence(error: Exception) -> str:
    """The text of an error, as a sentence."""
    text = str(error)
    if text.partition(" ")[0].isalpha():  # an id or a setting's name stays as it is written
        text = text[:1].upper() + text[1:]
    return text + ("" if text.endswith(".") else ".")


def still_pending(record: SnapshotRecord) -> str:
    """What a refresh says of a snapshot that it did not find yet."""
    which = f"the snapshot of database {record.database_id} requested at {record.requested_at}"
    if record.attempt is not None and record.attempt.missing_since is not None:
        return (
            f"{which} never came: the service's listing of {rfc3339(record.attempt.missing_since)} lacks it. "
            "The next `pulumi up` takes another one."
        )
    return f"{which} is still pending."


def forgotten(record: SnapshotRecord, *, adopted: bool) -> str:
    """What a delete says: nothing is sent, so the snapshot outlives the resource.

    Args:
        record: what leaves the state.
        adopted: whether a resource of this run has the very same snapshot now.
    """
    if adopted:
        return f"not forgotten: {record.id}, which `reuse_within` has adopted; without it another one is taken"
    if record.pending:
        return f"forgotten: {record.id}; if its snapshot was started, the service keeps it for 30 days"
    if not record.available:
        return f"forgotten: {record.id}, which the service no longer listed"
    return (
        f"forgotten: {record.id}, at the service until {record.expires_at or 'its 30 days are over'}; "
        "Snapshot.get(…) brings it back"
    )


def restore_still_pending(record: RestoreRecord) -> str:
    """What a refresh says of a restore whose end was not seen."""
    return (
        f"what database {record.target_database_id} holds is not known: the end of the restore that was requested at "
        f"{record.requested_at} was not seen. `pulumi up` goes on watching the database."
    )


def restore_forgotten(record: RestoreRecord) -> str:
    """What a delete says: nothing is sent, so the database keeps what it holds."""
    return f"forgotten: the restore of {record.snapshot}; database {record.target_database_id} keeps what it holds"
