"""The lookups by name, with their arguments and results.

Programs load it, so it loads no HTTP stack.
"""

from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from pulumi_snapshots.errors import Message
from pulumi_snapshots.properties import checks
from pulumi_snapshots.properties.catalogue import (
    Duration,
    Inputs,
    Record,
    Values,
    declare,
    declare_database,
)
from pulumi_snapshots.snapshot.record import (
    DATABASE_ENGINE,
    ORIGIN,
    ListedProperties,
    SnapshotRecord,
)

T = TypeVar("T")
LIST_PURPOSE = "list snapshots of"
WITH_URL = (
    "Whether the result has the download URL too. As an output, the whole result is then a "
    "secret: `get_download_url` returns the URL alone."
)


def _taken(when: str) -> Any:
    """Declare an age of snapshots."""
    return declare(
        f"Only {when}, by the service's clock; at most 30 days.",
        default=None,
        read=checks.age_at_service,
    )


def _origin() -> Any:
    return declare(
        "`manual` or `automatic`; any unless given.",
        default=None,
        read=ORIGIN.read,
        choices=ORIGIN,
    )


class SnapshotQuery(Inputs):
    """The snapshots that the service lists, newest first.

    Ages are by the service's clock. Without `origin`, snapshots whose origin the service does not
    say are found too.
    """

    database_id: str | None = declare(
        "The database whose snapshots to list; all of the account unless given.",
        default=None,
        read=checks.database_id(LIST_PURPOSE),
    )
    origin: str | None = _origin()
    newer_than: Duration | None = _taken("snapshots taken at most this long ago")
    older_than: Duration | None = _taken("snapshots taken longer ago than this")
    with_url: bool = declare(WITH_URL, default=False)

    @classmethod
    def problems(cls, values: Values) -> list[checks.Problem]:
        """Return all problems of the values, including those of the two ages together.

        Args:
            values: the arguments by their names in Python.
        """
        problems = super().problems(values)
        ages = cls.known(values, "newer_than", "older_than")
        newer = ages.get("newer_than")
        older = ages.get("older_than")
        if newer is not None and older is not None and newer <= older:
            reason = Message(
                "must be longer than {older_than} (otherwise no snapshot matches)"
            )
            problems.append(checks.Problem("newer_than", reason, values["newer_than"]))
        return problems


class LatestQuery(Inputs):
    """The newest available snapshot of a database, no matter who took it.

    Absent if there is none.
    """

    database_id: str = declare_database("The database whose snapshot.", LIST_PURPOSE)
    origin: str | None = _origin()
    max_age: Duration | None = _taken("a snapshot taken at most this long ago")
    with_url: bool = declare(WITH_URL, default=False)

    @property
    def candidates(self) -> SnapshotQuery:
        """The query for all snapshots that match, of which the newest is the answer."""
        return SnapshotQuery(
            self.database_id, self.origin, self.max_age, with_url=self.with_url
        )


class UrlQuery(Inputs):
    """The download URL of a snapshot, with which anyone can read the data.

    It is all of the result, and a secret.

    A plain call can lose the secret's mark: use the form for outputs if the URL goes into a
    resource or an output.
    """

    database_id: str = declare(
        "The snapshot's database.",
        read=checks.database_id(LIST_PURPOSE),
        needed="the id of the snapshot's database",
    )
    version_id: str = declare(
        "The snapshot's version.",
        read=checks.version_id,
        needed="the version to download",
    )


class DatabaseQuery(Inputs):
    """A database of the account, and whether it runs."""

    database_id: str = declare_database("The database.", "look up")


class DatabasesQuery(Inputs):
    """All databases of the account, and whether each runs."""


class SnapshotInfo(ListedProperties, computed=("id",), result=True):
    """A snapshot that the service lists, with the outputs of the Snapshot resource.

    Anyone with `download_url` can read the data, so it is absent unless the lookup asks for it.
    """

    # In Python, a result that is printed, converted or exported as a whole does not show it either:
    # a secret is no field.

    version_id: str = declare(
        "The service's version id, which together with the database's id identifies the snapshot."
    )
    download_url: str | None = declare(
        "Signed, and pinned to this version; absent unless the lookup asks for it.",
        default=None,
        secret=True,
    )
    requested_at: None = None  # as for every snapshot that was not taken by this stack
    attempt: None = None

    @property
    def id(self) -> str:
        """`DATABASE_ID/VERSION_ID`, to look it up or import it by."""
        return f"{self.database_id}/{self.version_id}"

    @classmethod
    def of(cls, record: SnapshotRecord, *, with_url: bool) -> Self:
        """Make the result from the record of a listed snapshot, which always has a version.

        Args:
            record: the record.
            with_url: whether the result has the download URL.

        Returns:
            The result.
        """
        listed = {name: getattr(record, name) for name in ListedProperties.properties()}
        return cls(**(listed if with_url else {**listed, "download_url": None}))


class DatabaseInfo(Record):
    """A database of the account."""

    id: str = declare("The database's id.")
    name: str = declare("The name that its owner gave it; not unique.")
    type: str = declare(
        "Its engine, `postgres`, `mongo`, `mysql` or `redis`.", choices=DATABASE_ENGINE
    )
    ram: int | None = declare("MB; absent if the service does not say.")
    cluster: str | None = declare(
        "The cluster that it runs on; absent if the service does not say."
    )
    running: bool = declare("Whether it was running at the lookup.")


@dataclass(frozen=True)
class Lookup(Generic[T]):
    """One lookup, whose answer is of type T."""

    function: str
    query: type[Inputs]  # its arguments; the docstring says what the lookup is for
    result: type[Record]  # the answer, or a record around it, see `_around`
    doc: str  # the docstring of the lookup's function in Python

    def holds_url(self, answer: T) -> bool:
        """Return whether an answer gives access to data.

        Args:
            answer: the answer.
        """
        snapshots = answer if isinstance(answer, list) else [answer]
        return "download_url" in self.result.properties() or any(
            getattr(snapshot, "download_url", None) for snapshot in snapshots
        )

    def values(self, answer: T) -> dict[str, Any]:
        """Return an answer as plain values.

        Args:
            answer: the answer.
        """
        if isinstance(answer, self.result):
            return answer.to_outputs()
        around = self.result(answer)  # type: ignore[call-arg]  # see `_around`
        return around.to_outputs()

    def answer(self, values: dict[str, Any]) -> T:
        """Return the answer that plain values stand for.

        Args:
            values: the values.
        """
        result: Any = self.result.from_outputs(values)
        name, *others = self.result.properties()
        answer: T = result if others else getattr(result, name)
        return answer


def _around(name: str, kind: Any, doc: str, **more: Any) -> type[Record]:
    """A record with the answer as its only field, since some languages return objects only."""
    return type(
        "Found",
        (Record,),
        {"__annotations__": {name: kind}, name: declare(doc, **more)},
    )


SNAPSHOTS: Lookup[list[SnapshotInfo]] = Lookup(
    "get_snapshots",
    SnapshotQuery,
    _around("snapshots", list[SnapshotInfo], "Newest first."),
    "List the snapshots that the service has, newest first; in previews, too.",
)
LATEST: Lookup[SnapshotInfo | None] = Lookup(
    "get_latest_snapshot",
    LatestQuery,
    _around(
        "snapshot",
        SnapshotInfo | None,
        "Absent only if there is none, and `optional` is true.",
        settled=True,
    ),
    "Find the newest available snapshot of a database, no matter who took it, or None.\n\n"
    "In previews, too.",
)
DOWNLOAD_URL: Lookup[str] = Lookup(
    "get_download_url",
    UrlQuery,
    _around("download_url", str, "Signed, and pinned to this version.", secret=True),
    "Look up the download URL of a snapshot, in plain text.\n\n"
    "Anyone with it can read the data.",
)
DATABASE: Lookup[DatabaseInfo] = Lookup(
    "get_database",
    DatabaseQuery,
    DatabaseInfo,
    "Look up a database of the account, and whether it runs; in previews, too.",
)
DATABASES: Lookup[list[DatabaseInfo]] = Lookup(
    "get_databases",
    DatabasesQuery,
    _around("databases", list[DatabaseInfo], "All of the account."),
    "List the databases of the account, and whether each runs (one request for each).\n\n"
    "In previews, too.",
)
