"""What each command does once its arguments are known to be right: calls `operations`, shows what came of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from pulumi_snapshots.archive.archive import archive, bytes_text
from pulumi_snapshots.cli.doctor import Finding, examine
from pulumi_snapshots.cli.installed import look_at_installation
from pulumi_snapshots.cli.progress import display
from pulumi_snapshots.cli.tables import as_json, facts, report, table, width_of
from pulumi_snapshots.cli.wording import COMMANDS
from pulumi_snapshots.cli.words import moment
from pulumi_snapshots.errors.pages import with_address
from pulumi_snapshots.lookup.find import find_snapshots
from pulumi_snapshots.restore.outcomes import RestorePending
from pulumi_snapshots.restore.restore import restore
from pulumi_snapshots.run.settings import MissingKey, SettingsError
from pulumi_snapshots.snapshot.create import create
from pulumi_snapshots.snapshot.outcomes import Pending
from pulumi_snapshots.snapshot.read import LATEST, get

if TYPE_CHECKING:
    from pulumi_snapshots.archive.inputs import ArchiveInputs
    from pulumi_snapshots.archive.record import ArchiveRecord
    from pulumi_snapshots.cli.place import Place
    from pulumi_snapshots.lookup.inputs import SnapshotQuery
    from pulumi_snapshots.lookup.results import SnapshotInfo
    from pulumi_snapshots.restore.inputs import RestoreInputs
    from pulumi_snapshots.restore.record import RestoreRecord
    from pulumi_snapshots.snapshot.inputs import SnapshotInputs
    from pulumi_snapshots.snapshot.record import SnapshotRecord

__all__ = ["DONE", "FAILED", "Checkup", "Job", "Listing", "Printing", "Restoring", "Taking", "Transfer"]

DONE, FAILED = 0, 1
"""Exit codes of what a command has done; usage errors are 2, which click knows by itself."""
OWNER = "squarecloud-snapshots create"
RESTORE_OWNER = "squarecloud-snapshots restore"
"""Whose the commands' attempts are, in the journals: the next run goes on with what a killed one has started."""
MARKS = {"ok": "ok", "note": "note", "problem": "PROBLEM", "unknown": "?"}
SNAPSHOT_FIELDS = (
    "id",
    "database_id",
    "version_id",
    "name",
    "size",
    "created_at",
    "expires_at",
    "requested_at",
    "download_url_expires_at",
    "available",
    "origin",
    "runtime",
)
"""What programs are told of a snapshot: the resource's outputs, but for the URL, which opens the data to whoever has it."""
URL_FIELD = "download_url"
ASKING = "asking the service, in turn with other runs of this machine"
ARCHIVE_FIELDS = ("uri", "size", "sha256", "archived_at", "database_id", "version_id")


class Job(Protocol):
    """A command with its arguments."""

    async def __call__(self, place: Place) -> int:
        """Carry it out; returns the exit code.

        Raises:
            Exception: one of those whose texts are for users.
        """


@dataclass(frozen=True)
class Printing:
    """`completion`: a text that is known already."""

    text: str

    async def __call__(self, place: Place) -> int:
        """Print it."""
        place.show(self.text)
        return DONE


@dataclass(frozen=True)
class Listing:
    """`list`: the snapshots that the service lists, newest first."""

    query: SnapshotQuery
    json: bool
    urls: bool

    async def __call__(self, place: Place) -> int:
        """List them."""
        with place.ending():
            async with place.session() as session:
                with display(place, logged=False) as shown:
                    shown.progress(ASKING)
                    found = await find_snapshots(session, self.query, session.clock.monotonic())
            place.show(self._text(found, place))
            return DONE
        place.fail("interrupted before the service had answered.")
        return FAILED

    def _text(self, found: list[SnapshotInfo], place: Place) -> str:
        if self.json:
            return as_json([_snapshot(one, urls=self.urls) for one in found])
        if not found:
            place.say("no snapshots")
            return ""
        rows = [
            (
                one.id,
                moment(one.created_at),
                _size(one.size) if one.available else "expired",
                one.origin or "",
                one.runtime or "",
            )
            for one in found
        ]
        return table(("SNAPSHOT", "CREATED (UTC)", "SIZE", "ORIGIN", "ENGINE"), rows, width_of(place.out))


@dataclass(frozen=True)
class Taking:
    """`create`: takes one and waits until the listing shows exactly it."""

    inputs: SnapshotInputs
    new: bool
    json: bool
    urls: bool

    async def __call__(self, place: Place) -> int:
        """Take it, or keep waiting for the one that an earlier run of the command has started."""
        wording = COMMANDS.about(command=f"{OWNER} {self.inputs.database_id} --wait")
        try:
            async with place.session() as session:
                with place.ending(session), display(place, wording) as shown:
                    record = await create(session, self.inputs, shown, owner=OWNER, give_up_earlier=self.new)
        except Pending as pending:
            place.fail(wording.paragraph(pending))
            if self.json:
                place.show(as_json(_snapshot(pending.record, urls=self.urls)))
            return FAILED
        place.show(self._text(record))
        return DONE

    def _text(self, record: SnapshotRecord) -> str:
        if self.json:
            return as_json(_snapshot(record, urls=self.urls))
        return facts(
            {
                "snapshot": record.id,
                "created": _utc(record.created_at),
                "expires": _utc(record.expires_at),
                "size": _size(record.size),
                "engine": record.runtime or "",
            }
        )


@dataclass(frozen=True)
class Restoring:
    """`restore`: puts one back, over what its database holds."""

    inputs: RestoreInputs
    new: bool
    json: bool

    async def __call__(self, place: Place) -> int:
        """Restore it, or keep watching the restore that an earlier run of the command has requested."""
        onto = "" if self.inputs.target == self.inputs.database_id else f" --onto {self.inputs.target}"
        wording = COMMANDS.about(command=f"{RESTORE_OWNER} {self.inputs.snapshot}{onto} --yes")
        try:
            async with place.session() as session:
                with place.ending(session), display(place, wording) as shown:
                    record = await restore(session, self.inputs, shown, owner=RESTORE_OWNER, give_up_earlier=self.new)
        except RestorePending as pending:
            place.fail(wording.paragraph(pending))
            if self.json:
                place.show(as_json(pending.record.to_outputs()))
            return FAILED
        place.show(self._text(record))
        return DONE

    def _text(self, record: RestoreRecord) -> str:
        if self.json:
            return as_json(record.to_outputs())
        done = {"restored": record.snapshot, "onto": record.target_database_id, "running": _utc(record.restored_at)}
        return facts(done)


@dataclass(frozen=True)
class Checkup:
    """`doctor`: what may stand in the way of the next snapshot, and what to do."""

    json: bool

    async def __call__(self, place: Place) -> int:
        """Check."""
        with place.ending():
            with display(place, logged=False) as shown:
                shown.progress("looking at what is installed")
                findings = await place.blocking(look_at_installation, place.environment)
                shown.progress(ASKING)
                findings = [*await self._of_service(place), *findings]
            place.show(self._text(findings, width_of(place.out)))
            return FAILED if any(one.state == "problem" for one in findings) else DONE
        place.fail("interrupted before all was checked.")
        return FAILED

    @staticmethod
    async def _of_service(place: Place) -> list[Finding]:
        try:
            async with place.session() as session:
                return await examine(session)
        except SettingsError as error:
            check, found = (
                ("key", "none is set") if isinstance(error, MissingKey) else ("settings", COMMANDS.text(error))
            )
            advice = COMMANDS.text(("What the service tells was not checked.", *error.then))
            return [Finding(check, "problem", found, with_address(advice, error))]

    def _text(self, findings: list[Finding], width: int) -> str:
        if self.json:
            return as_json([asdict(one) for one in findings])
        return report([(MARKS[one.state], one.check, one.found, one.advice) for one in findings], width)


@dataclass(frozen=True)
class Transfer:
    """`download` and `archive`: streams one to a file or to a bucket, whole or not at all.

    Attributes:
        inputs: checked.
        done: what is said of it then, in a word.
        json: whether programs are told.
    """

    inputs: ArchiveInputs
    done: str
    json: bool

    async def __call__(self, place: Place) -> int:
        """Transfer it."""
        transfers, inputs = place.transfers, self.inputs
        async with place.session() as session:
            with place.ending(session, transfers), display(place, transfers=True) as shown:
                if inputs.version_id == LATEST:
                    newest = await get(session, f"{inputs.database_id}/{LATEST}")
                    inputs = replace(inputs, version_id=newest.version_id or "", download_url=newest.download_url)
                    shown.progress(f"the newest snapshot is {newest.id}, of {_utc(newest.created_at)}")
                record = await archive(session, transfers, inputs, shown, meter=shown.meter)
        place.show(self._text(record))
        return DONE

    def _text(self, record: ArchiveRecord) -> str:
        if self.json:
            return as_json({name: getattr(record, name) for name in ARCHIVE_FIELDS})
        return facts({self.done: record.uri, "size": _size(record.size), "sha256": record.sha256})


def _snapshot(one: SnapshotInfo | SnapshotRecord, *, urls: bool) -> dict[str, Any]:
    fields = {name: getattr(one, name) for name in (*SNAPSHOT_FIELDS, *([URL_FIELD] if urls else []))}
    return fields | {"attempt": one.attempt.to_outputs() if one.attempt else None}


def _utc(text: str | None) -> str:
    return "" if text is None else f"{moment(text)} UTC"


def _size(size: int | None) -> str:
    return "" if size is None else bytes_text(size)
