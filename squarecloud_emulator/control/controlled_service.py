"""What a test or a demo may do to the emulated service, in Python.

The control API offers the same over HTTP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from squarecloud_emulator.service.ranges import SECONDS, SIZE, refuse_outside
from squarecloud_emulator.service.resources import ADDRESSES, ID, Database
from squarecloud_emulator.service.service import EmulatedService

if TYPE_CHECKING:
    from datetime import datetime

    from squarecloud_emulator.data.damage import Damage
    from squarecloud_emulator.data.store import Rows
    from squarecloud_emulator.service.faults import Fault
    from squarecloud_emulator.service.resources import Origin, StoredSnapshot

_AS_ITS_DATABASE = "as its database"


class NoSuchResourceError(KeyError):
    """The account has no database with this id."""


class ControlledService(EmulatedService):
    """The emulated service with everything that a test may do to it."""

    # The account.

    @property
    def databases(self) -> dict[str, Database]:
        """The account's databases, by id."""
        return self.account.databases

    def existing(self, database_id: str) -> Database:
        """The database with this id; NoSuchResourceError if there is none."""
        if database_id not in self.databases:
            raise NoSuchResourceError(database_id)
        return self.databases[database_id]

    def snapshots(self, database_id: str) -> list[StoredSnapshot]:
        """What is stored of a database, newest first; listings may show an older page."""
        self.settle()
        return self.account.snapshots(database_id)

    def add_database(
        self,
        id: str | None = None,  # noqa: A002 - the service's word
        *,
        name: str | None = None,
        type: str = "postgres",  # noqa: A002
        ram: int = 512,
        snapshot_seconds: float | None = None,
    ) -> Database:
        """Add a database.

        Args:
            id: Its id; the next free one unless given.
            name: Its name; its kind and the beginning of its id unless given.
            type: Its engine: mongo, mysql, redis or postgres.
            ram: Its memory, MB.
            snapshot_seconds: How long its snapshots take; as the settings say unless given.

        Raises:
            ValueError: The id is taken or cannot stand in a path, or there is no such engine.
            StoreError: The store cannot make it.
        """
        if type not in ADDRESSES:
            raise ValueError(f"a database is {', '.join(ADDRESSES)}, not {type}")
        free = self.account.free_id() if id is None else id
        if not ID.fullmatch(free):
            raise ValueError(f"an id is made of letters, digits, - and _, not {free!r}")
        if free in self.databases:
            raise ValueError(f"the id {free} is taken")
        database = Database(
            id=free,
            name=f"{type}-{free[:8]}" if name is None else name,
            type=type,
            ram=ram,
            created_at=self.settle(),
            snapshot_seconds=snapshot_seconds,
        )
        self.account.store.create(database.id, database.type).result()
        self.account.add(database)
        self.save()
        return database

    def add_snapshot(  # noqa: PLR0913 - the parts of a snapshot
        self,
        database_id: str,
        *,
        origin: Origin | None = "manual",
        modified: datetime | None = None,
        size: int | None = None,
        runtime: str | None = _AS_ITS_DATABASE,
        version_id: str | None = None,
        listed: bool = True,
        damage: Damage | None = None,
    ) -> StoredSnapshot:
        """Add a snapshot of the database's data as it is now, without a request.

        Args:
            database_id: The database.
            origin: "automatic", "manual", or None as on older snapshots.
            modified: Its time; now unless given.
            size: Bytes to which its zip is padded.
            runtime: The engine that listings show; the database's unless given, None as on older
                snapshots.
            version_id: A version id of another form.
            listed: Whether listings show it.
            damage: What is wrong with its data.

        Raises:
            ValueError: The size is negative, smaller than the data, or larger than 1 GiB.

        """
        refuse_outside("size", size, SIZE)
        self.settle()
        resource = self.existing(database_id)
        capture = self.account.capture(resource, size, version_id, damage)
        capture.size.result()  # wait before reading the time
        now = self.settle()
        stored = self.account.store_snapshot(
            resource,
            now if modified is None else modified,
            capture,
            origin=origin,
            runtime=resource.type if runtime == _AS_ITS_DATABASE else runtime,
            listed=listed,
        )
        self.save()
        return stored

    def remove_snapshot(self, version_id: str) -> None:
        """Remove a snapshot; a cached page still shows it."""
        self.account.remove_snapshot(version_id)
        self.save()

    def remove_database(self, database_id: str) -> None:
        """Remove a database with its snapshots."""
        self.existing(database_id)
        self.account.remove(database_id)
        self.save()

    def change_database(self, database_id: str, **changes: Any) -> None:
        """Set attributes of a database, for example `snapshot_seconds=300`."""
        resource = self.existing(database_id)
        for name, value in changes.items():
            setattr(resource, name, value)
        self.save()

    def stop_database(self, database_id: str) -> None:
        """Take a database down."""
        self.change_database(database_id, running=False)

    def start_database(self, database_id: str) -> None:
        """Bring a database up."""
        self.change_database(database_id, running=True, started_at=self.settle())

    def next_snapshot_takes(self, database_id: str, seconds: float) -> None:
        """Set how long the next snapshot of a database takes, and only that one."""
        self.change_database(database_id, next_snapshot_seconds=seconds)

    def fail_next_snapshot(self, database_id: str) -> None:
        """Let the next snapshot of a database be accepted and then fail.

        SNAPSHOT_FAILED, or no trace after a 202.
        """
        self.change_database(database_id, next_snapshot_fails=True)

    def damage_next_snapshot(self, database_id: str, damage: Damage) -> None:
        """Let the next snapshot of a database succeed with data that is not the database's."""
        self.change_database(database_id, next_snapshot_damage=damage)

    def next_restore_does_nothing(self, database_id: str) -> None:
        """Let the next restore of a database report success and leave its data as it is."""
        self.change_database(database_id, next_restore_does_nothing=True)

    def next_restore_leaves_down(self, database_id: str) -> None:
        """Let the next restore of a database report success and leave the database stopped."""
        self.change_database(database_id, next_restore_leaves_down=True)

    def fail_next_restore(self, database_id: str) -> None:
        """Let the next restore of a database be refused: SNAPSHOT_RESTORE_FAILED."""
        self.change_database(database_id, next_restore_fails=True)

    def next_restore_fails_with(self, database_id: str, code: str) -> None:
        """Let the next restore of a database be accepted and then fail with this code.

        Its data stays as it is.
        """
        self.change_database(database_id, next_restore_error=code)

    def revoke_key(self, *, revoked: bool = True) -> None:
        """Refuse the key from now on: 401 ACCESS_DENIED; or accept it again."""
        self.account.key_revoked = revoked
        self.save()

    def block(self, seconds: float | None = None) -> None:
        """Block the account as if it had exceeded its rate limit; else as the settings say."""
        refuse_outside("seconds", seconds, SECONDS)
        lasts = self._settings.block_seconds if seconds is None else seconds
        self.rate_limit.block(self.now(), lasts)

    def drop_cache(self, database_id: str | None = None) -> None:
        """Drop the cached page of one database, or every cached page."""
        self.account.drop_pages(*filter(None, [database_id]))

    # Data.

    def execute(self, database_id: str, *statements: str) -> list[Rows]:
        """Run SQL on a database's data in one transaction; return the rows of each statement.

        Raises:
            sqlite3.Error: A statement is wrong, in SQLite.
            StoreError: A statement is wrong, at a server.
        """
        self.settle()
        self.existing(database_id)
        return self.account.store.execute(database_id, statements).result()

    def archive_of(self, version_id: str) -> bytes:
        """The bytes that a download of this version serves."""
        self.settle()
        stored = self.account.version(version_id)
        if stored is None:
            raise KeyError(version_id)
        return b"".join(self.account.store.read(version_id, 0, stored.size))

    # Faults.

    def add_fault(self, fault: Fault) -> Fault:
        """Add a rule; the first rule that matches a request strikes it."""
        self.faults.rules.append(fault)
        return fault

    def clear_faults(self) -> None:
        """Remove every rule."""
        self.faults.rules.clear()
