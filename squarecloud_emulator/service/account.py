"""The emulated account: its databases and snapshots, and what happens to them as time passes."""

from __future__ import annotations

import base64
import hashlib
import heapq
import itertools
import logging
import time
import uuid
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from squarecloud_emulator.data.store import StoreError, at_once, nothing
from squarecloud_emulator.service.limits import Cooldowns, Quota
from squarecloud_emulator.service.refusals import refusal
from squarecloud_emulator.service.resources import (
    Database,
    Origin,
    Restore,
    RunningSnapshot,
    StoredSnapshot,
)

if TYPE_CHECKING:
    from concurrent.futures import Future

    from squarecloud_emulator.data.damage import Damage
    from squarecloud_emulator.data.store import Store
    from squarecloud_emulator.service.settings import EmulatorSettings

# the service never says why a store failed, but the emulator's user must know
_LOG = logging.getLogger("squarecloud_emulator")
ACCOUNT = "the account"  # the owner of the account listing's pages, beside databases
_DAY = timedelta(days=1)
_LATEST_AFTER_PLAN = timedelta(days=30)
_OTHERS_AFTER_PLAN = timedelta(days=14)
"""How long the latest snapshot of a database, and all others, are kept after the plan's end."""
# so that a snapshot is due only at the next `settle`
_A_MOMENT = timedelta(microseconds=1)


@dataclass
class AccountState:
    """The part of an account that outlives the process."""

    databases: list[Database] = field(default_factory=list)
    snapshots: list[StoredSnapshot] = field(default_factory=list)
    running: list[RunningSnapshot] = field(default_factory=list)
    restores: list[Restore] = field(default_factory=list)
    quota_uses: list[datetime] = field(default_factory=list)
    accepted_at: dict[str, datetime] = field(default_factory=dict)
    versions_issued: int = 0
    next_automatic: datetime | None = None
    plan_ended: datetime | None = None  # the end of the plan that has had its effects
    key_revoked: bool = False


@dataclass(frozen=True)
class Capture:
    """A snapshot whose data is being written into its zip."""

    version_id: str
    size: Future[int]


class Account:
    """One account and its resources.

    Once its plan has ended, its databases are stopped, each after one more snapshot. Of each
    database the latest snapshot is kept for 30 days more and all others for 14 at most; then
    everything is deleted.

    Nothing runs in the background. `settle(now)` catches up with the time; call it before any
    other method.
    """

    def __init__(
        self, store: Store, settings: EmulatorSettings, state: AccountState
    ) -> None:
        self.store = store
        self.settings = settings
        self.databases = {one.id: one for one in state.databases}
        self.pages: dict[
            tuple[str, str], tuple[bytes, datetime]
        ] = {}  # of listings, cached: by owner and variant
        self.cooldowns = Cooldowns()
        self.cooldowns.accepted_at.update(state.accepted_at)
        self.quota = Quota()
        self.quota.uses.extend(state.quota_uses)
        self.key_revoked = state.key_revoked
        self.changed = False  # since the state was last saved
        self._snapshots: dict[str, list[StoredSnapshot]] = {}
        for one in state.snapshots:
            self._snapshots.setdefault(one.database_id, []).append(one)
        self._running = list(state.running)
        for running in self._running:
            # its work ended with the process that ran it
            running.fails = running.fails or running.size is None
        heapq.heapify(self._running)
        self.snapshot_work: dict[
            str, Future[int]
        ] = {}  # by version id, until it is done
        self.restore_work: dict[str, Future[None]] = {}  # by database id
        self._restores = {one.database_id: one for one in state.restores}
        self._versions_issued = state.versions_issued
        self._next_automatic = state.next_automatic
        self._plan_ended = state.plan_ended
        self._next_expiry = min((one.modified for one in state.snapshots), default=None)

    def state(self) -> AccountState:
        """The state to save."""
        return AccountState(
            databases=list(self.databases.values()),
            snapshots=[one for several in self._snapshots.values() for one in several],
            running=sorted(self._running),
            restores=list(self._restores.values()),
            quota_uses=list(self.quota.uses),
            accepted_at=dict(self.cooldowns.accepted_at),
            versions_issued=self._versions_issued,
            next_automatic=self._next_automatic,
            plan_ended=self._plan_ended,
            key_revoked=self.key_revoked,
        )

    # Lookups.

    def snapshots(self, resource_id: str) -> list[StoredSnapshot]:
        """All stored snapshots of a resource, newest first."""
        # Reversed after sorting: of two at the same moment, the later one is newer.
        return sorted(
            self._snapshots.get(resource_id, ()), key=lambda one: one.modified
        )[::-1]

    def running(self, resource_id: str | None = None) -> list[RunningSnapshot]:
        """The snapshots in progress."""
        return sorted(
            one for one in self._running if resource_id in (None, one.database_id)
        )

    def version(self, version_id: str) -> StoredSnapshot | None:
        """The stored snapshot with this version id."""
        everything = (one for several in self._snapshots.values() for one in several)
        return next((one for one in everything if one.version_id == version_id), None)

    def newest_version(self, name: str) -> StoredSnapshot | None:
        """The snapshot that an unpinned URL serves: the last version stored under this name."""
        named = [
            one
            for several in self._snapshots.values()
            for one in several
            if one.name == name
        ]
        return max(reversed(named), key=lambda one: one.stored_at, default=None)

    def restoring(self, resource_id: str) -> bool:
        """Whether a restore is in progress."""
        restore = self.last_restore(resource_id)
        return restore is not None and restore.in_progress

    def last_restore(self, resource_id: str) -> Restore | None:
        """The last restore of a resource.

        None if there was none, or its outcome is not kept any more.
        """
        return self._restores.get(resource_id)

    def is_up(self, resource: Database, now: datetime) -> bool:
        """Whether a resource is running at this moment."""
        restore = self.last_restore(resource.id)
        down = (
            restore is not None
            and restore.state(now) == "running"
            and self.settings.restore_stops_database
        )
        return resource.running and not down

    def restore_refuses_others(self, resource_id: str, now: datetime) -> bool:
        """Whether a restore is in progress, or its success is recent enough to be shown."""
        restore = self.last_restore(resource_id)
        if restore is None or restore.finished_at is None:
            return restore is not None
        tail = timedelta(seconds=self.settings.restore_tail_seconds)
        return restore.error is None and now - restore.finished_at < tail

    @property
    def memory_used(self) -> int:
        """MB of all databases."""
        return sum(one.ram for one in self.databases.values())

    def free_id(self) -> str:
        """An id like the service's, the same in every run."""
        for number in itertools.count(1):
            candidate = hashlib.sha256(f"database {number}".encode()).hexdigest()[:32]
            if candidate not in self.databases:
                return candidate
        raise AssertionError

    # Changes.

    def add(self, database: Database) -> None:
        """Add a database to the account; the store has its data already."""
        self.databases[database.id] = database
        self.changed = True

    def remove(self, resource_id: str) -> None:
        """Remove a database, its snapshots, and everything in progress."""
        self.databases.pop(resource_id, None)
        self._restores.pop(resource_id, None)
        self.restore_work.pop(resource_id, None)
        for running in self.running(resource_id):
            self.snapshot_work.pop(running.version_id, None)
            self.store.discard(running.version_id)
        self._running = [one for one in self._running if one.database_id != resource_id]
        heapq.heapify(self._running)
        for stored in self._snapshots.pop(resource_id, ()):
            self.store.discard(stored.version_id)
        self.store.remove(resource_id)
        self.drop_pages(resource_id)
        self.changed = True

    def start_snapshot(self, resource: Database, now: datetime) -> RunningSnapshot:
        """Accept a POST, or refuse it.

        Capture the data now, and finish the snapshot once its time has passed.

        If the settings let POSTs join an earlier one, that is returned.
        """
        settings = self.settings
        self.cooldowns.check_snapshot(resource.id, now)
        if settings.refusals_start_cooldown:
            self.cooldowns.start("snapshot", resource.id, now)
        if self.restore_refuses_others(resource.id, now):
            # 403 on this route, 409 on the restore route
            raise refusal("RESTORE_IN_PROGRESS", status=403)
        if not resource.running:
            raise refusal("DATABASE_NOT_RUNNING")
        in_progress = self.running(resource.id)
        if in_progress:
            if settings.posts_join_running:
                return in_progress[0]
            raise refusal("SNAPSHOT_IN_PROGRESS")
        version_id = self._issue_version()
        self.quota.spend(settings.plan_memory_mb, now)
        try:
            size = self._captured_size(
                self.capture(
                    resource,
                    version_id=version_id,
                    damage=resource.next_snapshot_damage,
                )
            )
        except StoreError as error:
            _LOG.warning("snapshot failed: %s", error)
            self.quota.give_back(now)
            raise refusal("SNAPSHOT_FAILED") from error
        resource.next_snapshot_damage = None
        self.cooldowns.start("snapshot", resource.id, now)
        seconds = (
            settings.snapshot_seconds
            if resource.snapshot_seconds is None
            else resource.snapshot_seconds
        )
        if resource.next_snapshot_seconds is not None:
            seconds = resource.next_snapshot_seconds
            resource.next_snapshot_seconds = None
        running = RunningSnapshot(
            ready_at=now + timedelta(seconds=seconds),
            version_id=version_id,
            database_id=resource.id,
            name=self._object_name(resource, "manual"),
            size=size,
            started_at=now,
            fails=resource.next_snapshot_fails,
        )
        resource.next_snapshot_fails = False
        heapq.heappush(self._running, running)
        self.changed = True
        return running

    def start_restore(
        self,
        resource: Database,
        name: str,
        version_id: str,
        now: datetime,
    ) -> Restore:
        """Accept a POST, or refuse it.

        Take the database down, and bring it up with the version's data once the time has passed.

        A restore that is to fail leaves the data as it is.
        """
        self.cooldowns.check_restore(resource.id, now)
        if self.settings.refusals_start_cooldown:
            self.cooldowns.start("restore", resource.id, now)
        if self.restore_refuses_others(resource.id, now):
            raise refusal("RESTORE_IN_PROGRESS")
        snapshot = self.version(version_id)
        if snapshot is None or name not in snapshot.names:
            raise refusal("SNAPSHOT_NOT_FOUND")
        if snapshot.runtime is not None and snapshot.runtime != resource.type:
            raise refusal("SNAPSHOT_DATABASE_MISMATCH")
        if resource.next_restore_fails:
            resource.next_restore_fails = False
            raise refusal("SNAPSHOT_RESTORE_FAILED")
        self.cooldowns.start("restore", resource.id, now)
        started_at = now + timedelta(seconds=self.settings.restore_queue_seconds)
        restore = Restore(
            database_id=resource.id,
            version_id=version_id,
            started_at=started_at,
            queued=started_at > now,
            ends_at=started_at + timedelta(seconds=self.settings.restore_seconds),
            error=resource.next_restore_error,
            does_nothing=resource.next_restore_does_nothing,
            leaves_down=resource.next_restore_leaves_down,
        )
        resource.next_restore_error = None
        resource.next_restore_does_nothing = False
        resource.next_restore_leaves_down = False
        self._restores[resource.id] = restore
        if restore.error is None and self.store.takes_time(resource.id):
            # It starts now, so that it is done when its time has passed.
            self.restore_work[resource.id] = self._begin_restore(restore, now)
        self.changed = True
        return restore

    def _begin_restore(self, restore: Restore, now: datetime) -> Future[None]:
        if restore.does_nothing:
            work = at_once(nothing)
        else:
            careless = self.settings.restore_ignores_errors
            work = self.store.restore(
                restore.database_id, restore.version_id, careless=careless
            )
        if self.store.takes_time(restore.database_id):
            began = time.monotonic()

            def note_end(
                _: Future[None],
            ) -> None:  # in the store's thread, which has no event loop and so no clock
                restore.worked_until = now + timedelta(
                    seconds=(time.monotonic() - began) * self.settings.speed
                )

            work.add_done_callback(note_end)
        return work

    def _captured_size(self, capture: Capture) -> int | None:
        """The zip's size, or None if the store is still working on it."""
        if capture.size.done():
            return capture.size.result()
        self.snapshot_work[capture.version_id] = capture.size
        return None

    def capture(
        self,
        resource: Database,
        size: int | None = None,
        version_id: str | None = None,
        damage: Damage | None = None,
    ) -> Capture:
        """Begin a snapshot without a POST; pass it to `store_snapshot` once its work is done."""
        version_id = self._issue_version() if version_id is None else version_id
        return Capture(
            version_id, self.store.capture(resource.id, version_id, size, damage)
        )

    def store_snapshot(  # noqa: PLR0913 - the parts of a snapshot
        self,
        resource: Database,
        modified: datetime,
        capture: Capture,
        *,
        origin: Origin | None,
        runtime: str | None,
        listed: bool = True,
    ) -> StoredSnapshot:
        """Store a snapshot that was taken without a POST: an automatic one, or another client's."""
        stored = StoredSnapshot(
            version_id=capture.version_id,
            database_id=resource.id,
            name=self._object_name(resource, origin),
            size=capture.size.result(),
            modified=modified,
            stored_at=modified,
            runtime=runtime,
            origin=origin,
            listed=listed,
        )
        self._add_snapshot(stored)
        return stored

    def remove_snapshot(self, version_id: str) -> None:
        """Remove a snapshot, as the service does after its retention."""
        for several in self._snapshots.values():
            for stored in several:
                if stored.version_id == version_id:
                    several.remove(stored)
                    self.store.discard(version_id)
                    self.changed = True
                    return

    def drop_pages(self, *owners: str) -> None:
        """Drop the cached pages of these owners, or all."""
        self.pages = {
            key: page
            for key, page in self.pages.items()
            if owners and key[0] not in owners
        }

    # Time.

    def settle(self, now: datetime) -> None:
        """Catch up: finish what is due, take the automatic snapshots, drop the expired ones."""
        if self.snapshot_work:
            self._collect_work(now)
        while self._running and self._running[0].ready_at <= now:
            self._finish(heapq.heappop(self._running))
        for restore in list(self._restores.values()):
            self._settle_restore(restore, now)
        if self.settings.automatic_snapshots:
            self._take_automatic(now)
        else:
            self._next_automatic = None
        self._settle_plan(now)
        if self._plan_ended is not None or (
            self._next_expiry is not None
            and now - self._next_expiry >= self._retention()
        ):
            self._drop_expired(now)

    def _settle_plan(self, now: datetime) -> None:
        """Stop the databases at the end of the plan, and delete them when nothing is kept."""
        ends = self.settings.plan_ends_at
        if ends is None or now < ends:
            self._plan_ended = None
            return
        if self._plan_ended != ends:
            self._plan_ended = ends
            for database in list(self.databases.values()):
                if self.is_up(database, now):
                    self._take_automatic_of(database, ends)
                database.running = False
            self.changed = True
        if now - ends >= _LATEST_AFTER_PLAN:
            for database_id in list(self.databases):
                self.remove(database_id)

    def _settle_restore(self, restore: Restore, now: datetime) -> None:
        """End a restore whose time is over, and forget one whose outcome is no longer shown."""
        if restore.finished_at is None and restore.ends_at <= now:
            self._end_restore(restore, now)
        kept = timedelta(seconds=self.settings.restore_outcome_seconds)
        if restore.finished_at is not None and now - restore.finished_at >= kept:
            del self._restores[restore.database_id]
            self.changed = True

    def _collect_work(self, now: datetime) -> None:
        """Note which snapshots' zips are written.

        The others are not ready yet, even if their time has passed.
        """
        for running in self._running:
            work = self.snapshot_work.get(running.version_id)
            if work is None:
                continue
            if work.done():
                del self.snapshot_work[running.version_id]
                try:
                    running.size = work.result()
                except (StoreError, CancelledError) as error:
                    _LOG.warning("snapshot failed: %s", error)
                    running.fails = True
                self.changed = True
            elif running.ready_at <= now:
                running.ready_at = now + _A_MOMENT
        heapq.heapify(self._running)

    def _end_restore(self, restore: Restore, now: datetime) -> None:
        finished_at = restore.ends_at
        if restore.error is None:
            work = self.restore_work.get(restore.database_id)
            if work is None:
                work = self._begin_restore(restore, now)
                self.restore_work[restore.database_id] = work
            if not work.done():
                restore.ends_at = now  # it is still running
                return
            if self.store.takes_time(restore.database_id):
                # The work's own end, not the moment at which somebody asks; `now` if it has only
                # just ended.
                finished_at = min(now, max(finished_at, restore.worked_until or now))
            del self.restore_work[restore.database_id]
            try:
                work.result()
            except (StoreError, CancelledError) as error:
                _LOG.warning(
                    "restore failed, and the database holds what it held before: %s",
                    error,
                )
                restore.error = "SNAPSHOT_RESTORE_FAILED"
            owner = self._owner(restore.database_id)
            owner.running = not restore.leaves_down
            if owner.running and self.settings.restore_stops_database:
                owner.started_at = finished_at
        restore.finished_at = finished_at
        self.changed = True

    def _finish(self, running: RunningSnapshot) -> None:
        self.changed = True
        if running.fails or running.size is None:
            self.store.discard(running.version_id)
            if not self.settings.failures_spend_quota:
                self.quota.give_back(running.started_at)
            return
        resource = self._owner(running.database_id)
        self._add_snapshot(
            StoredSnapshot(
                version_id=running.version_id,
                database_id=resource.id,
                name=running.name,
                size=running.size,
                modified=running.ready_at
                if self.settings.modified_is == "end"
                else running.started_at,
                stored_at=running.ready_at,
                runtime=resource.type,
                origin=running.origin,
            )
        )

    def _add_snapshot(self, stored: StoredSnapshot) -> None:
        self._snapshots.setdefault(stored.database_id, []).append(stored)
        if self._next_expiry is None or stored.modified < self._next_expiry:
            self._next_expiry = stored.modified
        if self.settings.cache_world == "invalidated":
            self.drop_pages(stored.database_id, ACCOUNT)
        self.changed = True

    def _take_automatic(self, now: datetime) -> None:
        if self._next_automatic is None:
            today = now.replace(
                hour=self.settings.automatic_hour,
                minute=0,
                second=0,
                microsecond=0,
            )
            self._next_automatic = today if today > now else today + _DAY
            self.changed = True
        while self._next_automatic <= now:
            if (
                now - self._next_automatic < self._retention()
            ):  # older ones would have expired already
                for database in list(self.databases.values()):
                    if (
                        self.is_up(database, now)
                        and database.created_at <= self._next_automatic
                    ):
                        self._take_automatic_of(database, self._next_automatic)
            self._next_automatic += _DAY
            self.changed = True

    def _take_automatic_of(self, database: Database, at: datetime) -> None:
        capture = self.capture(database)
        try:
            size = self._captured_size(capture)
        except StoreError as error:
            # the next one is tomorrow
            _LOG.warning("automatic snapshot failed: %s", error)
            return
        if size is not None:
            self.store_snapshot(
                database,
                at,
                capture,
                origin="automatic",
                runtime=database.type,
            )
            return
        running = RunningSnapshot(
            ready_at=at,
            version_id=capture.version_id,
            database_id=database.id,
            name=self._object_name(database, "automatic"),
            size=None,
            started_at=at,
            fails=False,
            origin="automatic",
        )
        heapq.heappush(self._running, running)

    def _drop_expired(self, now: datetime) -> None:
        # A restore in progress still needs its zip.
        held = {one.version_id for one in self._restores.values() if one.in_progress}
        for resource_id, several in self._snapshots.items():
            kept: list[StoredSnapshot] = []
            latest = max((one.modified for one in several), default=now)
            for one in several:
                expires = self._expires(one, is_latest=one.modified == latest)
                if now < expires or one.version_id in held:
                    kept.append(one)
                else:
                    self.store.discard(one.version_id)
            self._snapshots[resource_id] = kept
        left = (one.modified for several in self._snapshots.values() for one in several)
        self._next_expiry = min(left, default=None)
        self.changed = True

    def _expires(self, stored: StoredSnapshot, *, is_latest: bool) -> datetime:
        """When a snapshot is deleted."""
        usual = stored.modified + self._retention()
        if self._plan_ended is None:
            return usual
        if is_latest:
            return self._plan_ended + _LATEST_AFTER_PLAN
        return min(usual, self._plan_ended + _OTHERS_AFTER_PLAN)

    def _retention(self) -> timedelta:
        return timedelta(days=self.settings.retention_days)

    def _owner(self, resource_id: str) -> Database:
        resource = self.databases.get(resource_id)
        assert resource is not None, "work in progress is removed with its database"  # noqa: S101
        return resource

    def _object_name(self, resource: Database, origin: Origin | None) -> str:
        style = self.settings.name_style
        if style == "id":
            return resource.id
        if style == "id_type" or origin is None:
            return f"{resource.id}_{resource.type}"
        return f"{resource.id}_{resource.type}_{origin}"

    def _issue_version(self) -> str:
        # Counted, not random: a restart on the same folder continues, and runs with the same seed
        # get the same ids.
        while True:
            self._versions_issued += 1
            digest = hashlib.sha256(
                f"{self.settings.seed}:{self._versions_issued}".encode()
            ).digest()
            version_id = str(uuid.UUID(bytes=digest[:16], version=4))
            if self.settings.version_style == "opaque":
                # The restore route's pattern allows "+" and "/", which URLs must escape.
                version_id = base64.b64encode(digest[:24]).decode()
            if self.version(version_id) is None:
                return version_id
