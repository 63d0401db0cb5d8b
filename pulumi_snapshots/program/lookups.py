"""The lookups, as programs call them, whichever way they ask."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar

from pulumi_snapshots.lookup.results import DATABASE, DATABASES, DOWNLOAD_URL, LATEST, SNAPSHOTS

if TYPE_CHECKING:
    import pulumi

    from pulumi_snapshots.lookup.results import DatabaseInfo, Lookup, SnapshotInfo
    from pulumi_snapshots.program import Duration, Origin


T = TypeVar("T")


class Lookups(ABC):
    """The functions that a package gives to programs: each is a method of its one object.

    All take `opts`, such as an explicit provider, which is for the plugin only.
    """

    @abstractmethod
    def _now(self, lookup: Lookup[T], *, opts: Any, **arguments: Any) -> T:
        """Ask with plain arguments, and wait for the answer."""

    @abstractmethod
    def _later(self, lookup: Lookup[T], *, opts: Any, **arguments: Any) -> pulumi.Output[T]:
        """Ask once the arguments, which may be outputs, are known."""

    def get_snapshots(  # noqa: PLR0913  the arguments of the lookup, and the options
        self,
        database_id: str | None = None,
        origin: Origin | None = None,
        newer_than: Duration | None = None,
        older_than: Duration | None = None,
        *,
        with_url: bool | None = None,
        opts: pulumi.InvokeOptions | None = None,
    ) -> list[SnapshotInfo]:
        """List the snapshots that the service has, newest first; in previews, too.

        Durations are strings such as `90s`, `45m`, `1h30m`, `7d`, or numbers of seconds, by the service's clock.

        Args:
            database_id: of this database; of the whole account unless given.
            origin: `manual` or `automatic`; both unless given.
            newer_than: only snapshots taken at most this long ago; at most 30 days.
            older_than: only snapshots taken longer ago than this; at most 30 days.
            with_url: whether each has its `download_url`, with which anyone can read the data. No unless given.
            opts: see the class.

        Raises:
            LookupFailed: an argument cannot be used, or the service gives no certain answer.
        """
        return self._now(SNAPSHOTS, **_of(locals()))

    def get_snapshots_output(  # noqa: PLR0913  the arguments of the lookup, and the options
        self,
        database_id: pulumi.Input[str] | None = None,
        origin: pulumi.Input[Origin] | None = None,
        newer_than: pulumi.Input[Duration] | None = None,
        older_than: pulumi.Input[Duration] | None = None,
        *,
        with_url: pulumi.Input[bool] | None = None,
        opts: pulumi.InvokeOutputOptions | None = None,
    ) -> pulumi.Output[list[SnapshotInfo]]:
        """`get_snapshots` for arguments that are outputs; a secret if it holds download URLs."""
        return self._later(SNAPSHOTS, **_of(locals()))

    def get_latest_snapshot(
        self,
        database_id: str,
        origin: Origin | None = None,
        max_age: Duration | None = None,
        *,
        with_url: bool | None = None,
        opts: pulumi.InvokeOptions | None = None,
    ) -> SnapshotInfo | None:
        """Find the newest available snapshot of a database, no matter who took it, or None; in previews, too.

        Args:
            database_id: the database.
            origin: `manual` or `automatic`; both unless given.
            max_age: only a snapshot taken at most this long ago, by the service's clock; at most 30 days. A string such as
                `90s`, `45m`, `1h30m`, `7d`, or a number of seconds.
            with_url: whether it has its `download_url`, with which anyone can read the data. No unless given.
            opts: see the class.

        Raises:
            LookupFailed: an argument cannot be used, or the service gives no certain answer.
        """
        return self._now(LATEST, **_of(locals()))

    def get_latest_snapshot_output(
        self,
        database_id: pulumi.Input[str],
        origin: pulumi.Input[Origin] | None = None,
        max_age: pulumi.Input[Duration] | None = None,
        *,
        with_url: pulumi.Input[bool] | None = None,
        opts: pulumi.InvokeOutputOptions | None = None,
    ) -> pulumi.Output[SnapshotInfo | None]:
        """`get_latest_snapshot` for arguments that are outputs; a secret if it holds a download URL."""
        return self._later(LATEST, **_of(locals()))

    def get_download_url(self, database_id: str, version_id: str, *, opts: pulumi.InvokeOptions | None = None) -> str:
        """Look up the download URL of a snapshot, in plain text; anyone with it can read the data.

        Raises:
            LookupFailed: the service does not list the snapshot, or gives no certain answer.
        """
        return self._now(DOWNLOAD_URL, **_of(locals()))

    def get_download_url_output(
        self,
        database_id: pulumi.Input[str],
        version_id: pulumi.Input[str],
        *,
        opts: pulumi.InvokeOutputOptions | None = None,
    ) -> pulumi.Output[str]:
        """`get_download_url` as an output, which is a secret."""
        return self._later(DOWNLOAD_URL, **_of(locals()))

    def get_database(self, database_id: str, *, opts: pulumi.InvokeOptions | None = None) -> DatabaseInfo:
        """Look up a database of the account, and whether it runs; in previews, too.

        Raises:
            LookupFailed: the id cannot be used, there is no such database, or the service gives no certain answer.
        """
        return self._now(DATABASE, **_of(locals()))

    def get_database_output(
        self, database_id: pulumi.Input[str], *, opts: pulumi.InvokeOutputOptions | None = None
    ) -> pulumi.Output[DatabaseInfo]:
        """`get_database` for an argument that is an output."""
        return self._later(DATABASE, **_of(locals()))

    def get_databases(self, *, opts: pulumi.InvokeOptions | None = None) -> list[DatabaseInfo]:
        """List the databases of the account, and whether each runs (one request for each); in previews, too.

        Raises:
            LookupFailed: the service gives no certain answer.
        """
        return self._now(DATABASES, **_of(locals()))

    def get_databases_output(
        self, *, opts: pulumi.InvokeOutputOptions | None = None
    ) -> pulumi.Output[list[DatabaseInfo]]:
        """`get_databases` as an output."""
        return self._later(DATABASES, **_of(locals()))


def _of(given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a method's call."""
    return {name: value for name, value in given.items() if name != "self"}
