"""What the engine's calls do with a snapshot, and what a refresh learns: it never drops one, and never fails while one is pending."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import anyio

from pulumi_snapshots.clock import REFRESH_PATIENCE, parse_rfc3339, to_the_second
from pulumi_snapshots.errors import (
    Explained,
    LedgerUnavailable,
    Next,
    NoSuchSnapshot,
    NothingSent,
    Step,
    Text,
    Words,
    not_listed,
)
from pulumi_snapshots.ledger.attempt import CLEAR, Request, Status, owner_of
from pulumi_snapshots.listing.listings import SERVICE_CACHE, Page, newest_first
from pulumi_snapshots.listing.match import LATE, AmbiguousSnapshot, earliest, late_text, may_be_ours
from pulumi_snapshots.progress import Listener
from pulumi_snapshots.properties.checks import expiry_of
from pulumi_snapshots.run.calls import ActCalls, EngineCall, Resource, Unfinished
from pulumi_snapshots.run.memory import is_provisional
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.settings import SettingsError
from pulumi_snapshots.service.client import BRIEF, ONCE
from pulumi_snapshots.service.errors import KeyRefused, NotAllowed, SquareCloudError
from pulumi_snapshots.service.models import ListedSnapshot
from pulumi_snapshots.snapshot.create import Pending, create, resume
from pulumi_snapshots.snapshot.record import (
    SNAPSHOT,
    SnapshotInputs,
    SnapshotRecord,
    describe,
    found_text,
    is_pinned,
    split_id,
)

LATEST = "latest"
"""In place of a version id, which is never shorter than 24 characters."""
PENDING_PATIENCE = 9.0
"""Seconds; the reads of pending resources hold up the whole run, so all of them together end within 10 s."""
URL_RENEWAL = timedelta(days=7)
"""A stored URL with more than this left is kept, so that dependants do not change at every refresh."""
LISTED_BY = timedelta(seconds=SERVICE_CACHE) + LATE
"""After its creation: `modified` may be a snapshot's start, and the page may be from just before its end."""


class SnapshotCalls(ActCalls):
    """Create, read, update and delete."""

    ends = Pending
    act, resume = staticmethod(create), staticmethod(resume)

    def stays(self, carried: SnapshotRecord, inputs: SnapshotInputs) -> bool:
        """Whether it is of the same database."""
        return carried.database_id == inputs.database_id

    async def read(self, call: EngineCall, id_: str, state: Mapping[str, Any]) -> Resource:
        """Refresh a snapshot in the state, or get an existing one by its id."""
        if "available" not in state:
            return self.resource(await get(call.session(), id_), state)
        record = SnapshotRecord.from_outputs(state)
        try:
            seen = await read(call.session(), record, call.listener, owner=call.owner)
        except Explained as error:
            # The engine refreshes with the configuration of the last run, not with the present one.
            if not record.pending:
                stays = f"Snapshot {record.id} was not refreshed and stays as it was."
                done = Text("{done} {stays}", done=error.done, stays=stays) if error.done else stays
                raise Explained(error.happened, done, (*error.then, Next(Step.REFRESH_WITH_PROGRAM))) from error
            if not isinstance(error, SettingsError):
                raise
            seen = record  # the update that follows has the present one
        if seen.pending:
            which = f"The snapshot of database {seen.database_id} requested at {seen.requested_at}"
            raise Unfinished(Resource(id_, SNAPSHOT.state(seen, state)), Explained(f"{which} is still pending"))
        return self.resource(seen, state)  # under its own id: a snapshot that was resumed still has the provisional one

    async def delete(self, call: EngineCall, _id: str, state: Mapping[str, Any]) -> None:
        """Forget it: the service has no delete, so nothing is sent."""
        record, memory = SnapshotRecord.from_outputs(state), call.shared.memory
        # With `--replace`, a create does not learn what it replaces, so it may adopt the same snapshot.
        adopted = record.version_id in memory.of(record.database_id).claimed
        # The run has found the snapshot that an earlier run began to replace it with.
        resumed = owner_of(call.owner) in memory.resumed
        call.listener.note(_forgotten(record, adopted=adopted, resumed=resumed))


def _forgotten(record: SnapshotRecord, *, adopted: bool, resumed: bool) -> Words:
    """What a delete says."""
    if adopted:
        kept = "not forgotten: {id}, which a resource of this run has now: it has adopted it (`{reuse_within}`) or completed it"
        return Text(kept, id=record.id)
    if record.pending:
        return f"forgotten: {record.id}; if its snapshot was started, the service keeps it for 30 days"
    if not record.available:
        return f"forgotten: {record.id}, which the service no longer listed"
    until = to_the_second(record.expires_at) if record.expires_at else "its 30 days are over"
    known = f"forgotten: {'the old record {id}' if resumed else '{id}'}; the service keeps it until {{until}}"
    why = "; its replacement, which an earlier run began, is there: nothing is taken again" if resumed else ""
    return Text(f"{known}{why}. {{then}}", id=record.id, until=until, then=Next(Step.BRING_BACK))


async def read(
    session: Session, record: SnapshotRecord, listener: Listener, *, owner: str | None = None
) -> SnapshotRecord:
    """Renew the record of a snapshot in the state, which stays as it is if the service says nothing; a pending one may come back complete.

    Raises `KeyRefused` or, without a scope or permission, `NotAllowed`, since no resource can be read then; never for a pending one.
    """
    record.remember_in(session.memory)
    if record.attempt is not None and record.pending:
        return await _read_pending(session, record, record.attempt, owner, listener)
    with session.until(REFRESH_PATIENCE):
        try:
            return await _read_listed(session, record, listener)
        except SquareCloudError as error:
            lacks_scope = isinstance(error, NotAllowed) and error.code != "RESOURCE_NOT_ALLOWED"
            if lacks_scope or isinstance(error, KeyRefused):
                raise
            return _unread(record, listener, error)
    return _unread(record, listener, f"{_cut(session)}.")


async def get(session: Session, resource_id: str, *, unlisted: bool = False) -> SnapshotRecord:
    """Look up `DATABASE_ID/VERSION_ID`, or `DATABASE_ID/latest` for the newest available one, automatic ones included.

    With `unlisted` one that a run has found, and an old page lacks, is described as the run knows it: without a name.

    Raises:
        NoSuchSnapshot: the id is malformed or provisional, or the service does not list it.
        CannotTell: it is not certain which one is the newest.
        NothingSent: interrupted, or no answer within 2 minutes.
        SquareCloudError: no listing.
    """
    if is_provisional(resource_id):
        happened = f"{resource_id} is the provisional id of a pending snapshot"
        raise NoSuchSnapshot(happened, then=[Next(Step.USE_OUTPUTS)])
    try:
        database_id, version_id = split_id(resource_id)
    except ValueError as error:
        raise NoSuchSnapshot(str(error)) from None
    with session.until(REFRESH_PATIENCE):
        if version_id == LATEST:
            recent = session.listings.recent
            entries = await session.listings.of_database(database_id, recent, unlisted=unlisted)
            for entry in newest_first(entries.values()):
                record = await describe(session, database_id, entry)
                if record.available:
                    return record
            then = [Next(Step.TAKE_FIRST, database=database_id)]
            raise NoSuchSnapshot(f"The service lists no snapshot of database {database_id}", then=then)
        listed = await session.listings.find_version(database_id, version_id)
        if listed is None and unlisted:
            listed = await session.listings.unlisted(database_id, version_id)
        if listed is None:
            by = await session.listings.listed_by(database_id, version_id)
            happened, then = not_listed(database_id, version_id, by)
            raise NoSuchSnapshot(happened, then=then)
        return await describe(session, database_id, listed)
    raise NothingSent(f"Snapshot {resource_id} was not looked up: {_cut(session)}")


def _cut(session: Session) -> str:
    return "it was interrupted" if session.stopping else "the service did not answer in time"


async def _read_listed(session: Session, record: SnapshotRecord, listener: Listener) -> SnapshotRecord:
    version_id = record.version_id or ""
    page = await session.listings.page(record.database_id, session.listings.recent, patience=BRIEF, together=True)
    entry = page.version(version_id)
    if entry is None and not page.complete:
        page = await session.listings.own_page(record.database_id, session.listings.recent, patience=BRIEF)
        entry = page.version(version_id)
    if entry is None:
        return _missing(session, record, page, listener)
    renewed = await _renewed(session, record, entry)
    if not renewed.available:
        ended = f"snapshot {record.id} is past its 30 days at the service, which ended {to_the_second(renewed.expires_at or '')}."
        listener.warn(Text("{ended} {then}", ended=ended, then=Next(Step.TAKE_NEW)))
    return renewed


async def _renewed(session: Session, record: SnapshotRecord, entry: ListedSnapshot) -> SnapshotRecord:
    """The record with what its entry says now; it keeps a stored URL unless the new one is better."""
    fresh = await describe(session, record.database_id, entry, base_url=record.download_url)
    renewed = replace(fresh, requested_at=record.requested_at)
    if renewed.created_at is None and record.created_at is not None:
        renewed = renewed.created(parse_rfc3339(record.created_at))
    if _keeps_url(record.download_url, renewed.download_url, record.version_id or "", session.service_clock.now()):
        url, expires_at = record.download_url, record.download_url_expires_at
        renewed = replace(renewed, download_url=url, download_url_expires_at=expires_at)
    return renewed


def _keeps_url(stored: str | None, fresh: str | None, version_id: str, now: datetime) -> bool:
    """Whether the stored URL is the better one: it is pinned, and lasts long enough or the fresh one does not last longer."""
    if not is_pinned(stored, version_id):
        return False
    if not is_pinned(fresh, version_id):
        return True  # even one that has expired: an unpinned URL would serve other data without a word
    ends, fresh_ends = expiry_of(stored or ""), expiry_of(fresh or "")
    if ends is None or ends <= now:
        return False
    return ends > now + URL_RENEWAL or fresh_ends is None or fresh_ends <= ends


def _missing(session: Session, record: SnapshotRecord, page: Page, listener: Listener) -> SnapshotRecord:
    """Say that the listing does not show it. The service has no delete, so no other one is taken."""
    if not page.complete:
        return _unread(record, listener, "the listing holds entries that cannot be read, so it proves nothing.")
    now = session.service_clock.now()
    created = parse_rfc3339(record.created_at) if record.created_at else None
    if created is not None and now - created < LISTED_BY:
        listener.progress("not listed yet: the service may serve a listing that is 30 minutes old")
        return record
    why = "is not in the service's listing (another account's key? a database that was deleted and made again?)."
    if record.expired(now):
        why = f"is past its 30 days at the service, which ended {to_the_second(record.expires_at or '')}."
    missing = f"snapshot {record.id} {why} It stays in the state as not available."
    listener.warn(Text("{missing} {then}", missing=missing, then=Next(Step.TAKE_NEW)))
    return replace(record, available=False)


def _unread(record: SnapshotRecord, listener: Listener, why: str | Explained) -> SnapshotRecord:
    told = (why, *why.then) if isinstance(why, Explained) else why
    listener.warn(Text("snapshot {id} was not refreshed and stays as it was: {why}", id=record.id, why=told))
    return record


async def _read_pending(
    session: Session, record: SnapshotRecord, request: Request, owner: str | None, listener: Listener
) -> SnapshotRecord:
    """Poll once, no earlier than a wait would: the snapshot is found, or still pending; an error changes nothing.

    One that never came stays pending: the update that follows finds that out too, and requests another one.
    """
    database_id, memory = record.database_id, session.memory.of(record.database_id)
    with session.until(session.left_for_reads(PENDING_PATIENCE)):
        try:
            attempts = {each.id: each for each in await session.ledger.attempts()}
            there = attempts.get(request.id)
            others = {each.result or "" for each in attempts.values() if each.has_snapshot}
            version = there.result if there is not None and there.status is Status.FOUND else None
            await session.know_time(database_id, briefly=True)
            age = (session.service_clock.now() - request.posted_at).total_seconds()
            if version is None and request.answered != "200" and 0 <= age < session.poll_plan.first_alone:
                return record  # also in a preview: the wait that follows polls at its time
            page = await session.listings.page(database_id, session.listings.recent, patience=ONCE, together=True)
            excluded = {*memory.known, *memory.claimed, *others}
            entry = page.version(version) if version else earliest(may_be_ours(page.entries, request, excluded))
            if entry is None:
                return record
            complete = await describe(session, database_id, entry, requested=request.requested)
            memory.claimed.add(complete.version_id or "")
            session.memory.resumed.add(owner_of(owner))
            if there is not None:
                with anyio.CancelScope(shield=True):  # what is claimed has to come back as found
                    await session.ledger.ended(there, complete.version_id or "", holds=CLEAR)
        except (SquareCloudError, AmbiguousSnapshot, LedgerUnavailable, NothingSent):
            # The update that follows meets the same error and says so, with the current configuration.
            return record
        listener.note(found_text(complete, session.service_clock.now()))
        if late := late_text(database_id, entry, request):
            listener.warn(late)
        return complete
    return record
