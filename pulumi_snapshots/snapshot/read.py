"""What the engine's calls do with a snapshot, and what a refresh learns."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pulumi_snapshots.clock import REFRESH_PATIENCE, parse_rfc3339, to_the_second
from pulumi_snapshots.errors import (
    Hint,
    HintKind,
    Message,
    NoSuchSnapshot,
    NothingSent,
    ProviderError,
    not_listed,
)
from pulumi_snapshots.ledger.attempt import LATEST_OF_LOST
from pulumi_snapshots.listing.listings import SERVICE_CACHE, newest_first
from pulumi_snapshots.properties.catalogue import Values
from pulumi_snapshots.properties.checks import LATEST, expiry_of
from pulumi_snapshots.run.calls import (
    ActCalls,
    EngineCall,
    Resource,
    ResourceNotFinished,
)
from pulumi_snapshots.run.memory import Listener, ResourceCalls, is_provisional
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import REFRESH
from pulumi_snapshots.service.errors import KeyRefused, NotAllowed, SquareCloudError
from pulumi_snapshots.service.models import ListedSnapshot
from pulumi_snapshots.snapshot.create import Pending, create
from pulumi_snapshots.snapshot.record import (
    SNAPSHOT,
    SnapshotInputs,
    SnapshotRecord,
    describe,
    is_pinned,
    split_id,
)

URL_RENEWAL = timedelta(days=7)
"""A stored URL that works for longer is kept, so that dependants rarely change in a refresh."""


class SnapshotCalls(ActCalls):
    """Create, read, update and delete."""

    ends = Pending
    acts_again = HintKind.TAKE_NEW
    act = staticmethod(create)

    async def create(self, call: EngineCall, values: Values) -> Resource:
        """Take a snapshot, unless it is too early for a rotation by the service's clock."""
        rotated: SnapshotRecord | None = self.rules.calls_of(call).rotated
        if rotated is not None and await self._is_too_early(call, rotated, values):
            call.shared.memory.note_taken({rotated.id})
            return self.resource(rotated, values)
        return await super().create(call, values)

    async def _is_too_early(
        self, call: EngineCall, record: SnapshotRecord, values: Values
    ) -> bool:
        """Whether only this machine's clock, by which the engine compared, asks for a rotation."""
        after = SnapshotInputs.of(values).rotate_after
        if after is None or record.created_at is None:
            return False
        session = call.session()
        await session.know_time(record.database_id)
        now = session.service_clock.now()
        if now - parse_rfc3339(record.created_at) > timedelta(seconds=after):
            return False
        here = session.clock.utc()
        call.listener.warn(
            f"snapshot {record.id} is not rotated: by the service's clock it is not old enough. "
            f"This machine's clock is wrong: it says {to_the_second(here)}, and the service says "
            f"{to_the_second(now)}."
        )
        return True

    async def begin(
        self,
        call: EngineCall,
        inputs: SnapshotInputs,
        calls: ResourceCalls,
        **more: Any,
    ) -> Any:
        """Take a snapshot; the replaced version must not be adopted."""
        more["not_adopted"] = calls.version
        return await super().begin(call, inputs, calls, **more)

    def stays(self, carried: SnapshotRecord, inputs: SnapshotInputs) -> bool:
        """Whether the snapshot is of the same database."""
        return carried.database_id == inputs.database_id

    async def read(self, call: EngineCall, id_: str, state: Values) -> Resource:
        """Refresh a snapshot in the state, or get an existing one by its id.

        Args:
            call: The call.
            id_: The id in the state, or the id to look up.
            state: The outputs in the state; without `available` for a lookup or an import.

        Returns:
            The resource, under its own id, which can differ from a provisional one in the state.

        Raises:
            ResourceNotFinished: The snapshot is still pending.
            NoSuchSnapshot: The id of a lookup is not listed.
            ProviderError: The key was refused; the state stays as it is.
        """
        if "available" not in state:
            return self.resource(await get(call.session(), id_), state)
        record = SnapshotRecord.from_outputs(state)
        try:
            seen = await read(call.session(), record, call.listener)
        except ProviderError as error:
            # The engine refreshes with the configuration of the last run, not with the present one.
            if not record.pending:
                stays = f"Snapshot {record.id} was not refreshed and stays as it was."
                done = (
                    Message("{done} {stays}", done=error.done, stays=stays)
                    if error.done
                    else stays
                )
                raise ProviderError(
                    error.happened,
                    done,
                    (*error.then, Hint(HintKind.REFRESH_WITH_PROGRAM)),
                ) from error
            seen = record  # the update that follows has the present configuration
        if seen.pending:
            which = f"The snapshot of database {seen.database_id} requested at {seen.requested_at}"
            raise ResourceNotFinished(
                Resource(id_, SNAPSHOT.state(seen, state)),
                ProviderError(f"{which} is still pending"),
            )
        # A snapshot that was resumed still has its provisional id in the state.
        return self.resource(seen, state)

    async def delete(self, call: EngineCall, _id: str, state: Values) -> None:
        """Forget the snapshot: the service has no delete, so nothing is sent.

        Args:
            call: The call, whose listener gets a line that says until when the service keeps the
                snapshot.
            state: The outputs in the state.
        """
        record = SnapshotRecord.from_outputs(state)
        until = (
            to_the_second(record.expires_at)
            if record.expires_at
            else "its 30 days are over"
        )
        if record.id in call.shared.memory.taken:
            # With `--replace`, a create does not learn what it replaces.
            text = "not forgotten: {id}, because another resource of this run now has this snapshot"
        elif record.pending:
            text = (
                "forgotten: {id}; if its snapshot was started, the service keeps it for at most 30 "
                "days"
            )
        elif not record.available:
            text = "forgotten: {id}, which the service no longer listed"
        else:
            text = "forgotten: {id}; the service keeps it until {until}. {then}"
        call.listener.note(
            Message(text, id=record.id, until=until, then=Hint(HintKind.BRING_BACK))
        )


async def read(
    session: Session, record: SnapshotRecord, listener: Listener
) -> SnapshotRecord:
    """Renew the record of a snapshot in the state; a pending one may come back complete.

    The record stays as it is if the service says nothing. A refresh forgets no snapshot, and fails
    for no pending one: the update that follows meets the same error, and says so.

    Args:
        session: The session of the process.
        record: The record in the state.
        listener: Gets a warning for a snapshot that is not listed, or was not refreshed.

    Returns:
        The record; not available if the listing is complete and lacks the snapshot.

    Raises:
        KeyRefused: The service refuses the key, with which no resource can be read.
        NotAllowed: The key lacks a scope or permission.
    """
    record.remember_in(session.memory)
    if record.pending:
        # The reads of pending resources hold up the whole run: all together end within 10 s.
        with suppress(ProviderError), session.until(session.left_for_reads(9.0)):
            return await create(
                session,
                SnapshotInputs(record.database_id),
                listener,
                earlier=record,
                once=True,
            )
        return record
    with session.until(REFRESH_PATIENCE):
        try:
            return await _read_listed(session, record, listener)
        except SquareCloudError as error:
            lacks_scope = (
                isinstance(error, NotAllowed) and error.code != "RESOURCE_NOT_ALLOWED"
            )
            if lacks_scope or isinstance(error, KeyRefused):
                raise
            return _unread(record, listener, error)
    return _unread(record, listener, f"{_cut(session)}.")


async def get(
    session: Session, resource_id: str, *, unlisted: bool = False
) -> SnapshotRecord:
    """Look up a snapshot, manual or automatic.

    Args:
        session: The session of the process.
        resource_id: `DATABASE_ID/VERSION_ID`, or `DATABASE_ID/latest` for the newest available one.
        unlisted: Whether a snapshot that a run has found, and an old page lacks, is described as
            the run knows it.

    Returns:
        The snapshot.

    Raises:
        NoSuchSnapshot: The service does not list it, or the id is none of a snapshot.
        NothingSent: The service did not answer within `REFRESH_PATIENCE` seconds.
    """
    if is_provisional(resource_id):
        happened = f"{resource_id} is the provisional id of a pending snapshot"
        raise NoSuchSnapshot(happened, then=[Hint(HintKind.USE_OUTPUTS)])
    try:
        database_id, version_id = split_id(resource_id)
    except ValueError as error:
        raise NoSuchSnapshot(str(error)) from None
    with session.until(REFRESH_PATIENCE):
        if version_id == LATEST:
            recent = session.listings.recent
            entries = await session.listings.of_database(
                database_id, recent, unlisted=unlisted, spares_own=unlisted
            )
            record = await newest(session, database_id, entries.values())
            if record:
                return record
            then = [Hint(HintKind.TAKE_FIRST, database=database_id)]
            raise NoSuchSnapshot(
                f"The service lists no snapshot of database {database_id}", then=then
            )
        listed = await session.listings.find_version(database_id, version_id)
        if listed is None and unlisted:
            listed = await session.listings.unlisted(database_id, version_id)
        if listed is None:
            by = await session.listings.listed_by(database_id, version_id)
            happened, then = not_listed(database_id, version_id, by)
            raise NoSuchSnapshot(happened, then=then)
        return await describe(session, database_id, listed)
    raise NothingSent(f"Snapshot {resource_id} was not looked up: {_cut(session)}")


async def newest(
    session: Session,
    database_id: str,
    entries: Iterable[ListedSnapshot],
    *,
    may_be_empty: bool = True,
) -> SnapshotRecord | None:
    """Find the newest snapshot of one database that is available.

    Args:
        session: The session of the process.
        database_id: The database.
        entries: Its entries, in any order.
        may_be_empty: Whether a snapshot of 0 bytes will do.

    Returns:
        The snapshot; None if none is available.

    Raises:
        CannotTell: An entry that may be the newest one has no time.
    """
    for entry in newest_first(entries):
        record = await describe(session, database_id, entry)
        if record.available and (may_be_empty or record.size != 0):
            return record
    return None


def _cut(session: Session) -> str:
    return (
        "it was interrupted"
        if session.stopping
        else "the service did not answer in time"
    )


async def _read_listed(
    session: Session, record: SnapshotRecord, listener: Listener
) -> SnapshotRecord:
    """The record by the listing; a snapshot that is missing stays in the state.

    The service has no delete.
    """
    listings = session.listings
    version = record.version_id or ""
    page = await listings.page(
        record.database_id, listings.recent, patience=REFRESH, together=True
    )
    if page.version(version) is None and not page.complete:
        page = await listings.own_page(
            record.database_id, listings.recent, patience=REFRESH
        )
    now = session.service_clock.now()
    entry = page.version(version)
    if entry is not None:
        seen = await _renewed(session, record, entry)
    elif not page.complete:
        unreadable = (
            "the listing holds entries that cannot be read, so it proves nothing."
        )
        return _unread(record, listener, unreadable)
    elif _may_be_unlisted(record, now):
        listener.progress(
            "not listed yet: the service may serve a listing that is 30 minutes old"
        )
        return record
    else:
        seen = replace(record, available=False)
    if not seen.available:
        _warn_of_missing(seen, listener, now)
    return seen


def _may_be_unlisted(record: SnapshotRecord, now: datetime) -> bool:
    """Whether a snapshot is so new that an old page can lack it.

    Its time of creation may be the time of its start, and the page may be from just before its end.
    """
    if record.created_at is None:
        return False
    room = timedelta(seconds=SERVICE_CACHE) + LATEST_OF_LOST
    return now - parse_rfc3339(record.created_at) < room


def _warn_of_missing(record: SnapshotRecord, listener: Listener, now: datetime) -> None:
    why = (
        "is not in the service's listing (another account's key? a database that was deleted and "
        "made again?)."
    )
    if record.expired(now):
        ended = to_the_second(record.expires_at or "")
        why = f"is past its 30 days at the service, which ended {ended}."
    missing = f"snapshot {record.id} {why} It stays in the state as not available."
    listener.warn(
        Message("{missing} {then}", missing=missing, then=Hint(HintKind.TAKE_NEW))
    )


async def _renewed(
    session: Session, record: SnapshotRecord, entry: ListedSnapshot
) -> SnapshotRecord:
    """The record with what its entry says now; the URL in the state stays if it is no worse."""
    fresh = await describe(
        session, record.database_id, entry, base_url=record.download_url
    )
    renewed = replace(fresh, requested_at=record.requested_at)
    if renewed.created_at is None and record.created_at is not None:
        renewed = renewed.created(parse_rfc3339(record.created_at))
    if not _keeps_url(record, fresh, session.service_clock.now()):
        return renewed
    return replace(
        renewed,
        download_url=record.download_url,
        download_url_expires_at=record.download_url_expires_at,
    )


def _keeps_url(record: SnapshotRecord, fresh: SnapshotRecord, now: datetime) -> bool:
    """Whether the URL in the state serves the version, and the listing's URL is no better."""
    version = fresh.version_id or ""
    if not is_pinned(record.download_url, version):
        return False
    if not is_pinned(fresh.download_url, version):
        # Even if the stored URL has expired: the listing's URL would serve other data without a
        # word.
        return True
    ends = expiry_of(record.download_url or "")
    fresh_ends = expiry_of(fresh.download_url or "")
    if ends is None:
        return False
    is_later = fresh_ends is None or fresh_ends > ends
    return ends > now + URL_RENEWAL or not is_later


def _unread(
    record: SnapshotRecord, listener: Listener, why: str | ProviderError
) -> SnapshotRecord:
    told = (why, *why.then) if isinstance(why, ProviderError) else why
    stays = "snapshot {id} was not refreshed and stays as it was: {why}"
    listener.warn(Message(stays, id=record.id, why=told))
    return record
