"""The arguments of the lookups. Programs load it, so it loads no HTTP stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_snapshots.errors import Text
from pulumi_snapshots.properties import checks
from pulumi_snapshots.properties.catalogue import Duration, Inputs, declare
from pulumi_snapshots.properties.checks import RETENTION
from pulumi_snapshots.properties.unfit import Problem
from pulumi_snapshots.snapshot.record import ORIGIN

if TYPE_CHECKING:
    from collections.abc import Mapping


ORIGINS = tuple(ORIGIN.meanings)
LIST_PURPOSE = "list snapshots of"
LOOK_UP_PURPOSE = "look up"
_age = checks.duration(most=RETENTION, because="the service keeps no snapshot longer")
WITH_URL = (
    "Whether the result has the download URL too. As an output, the whole result is then a secret: `get_download_url` brings the "
    "URL alone."
)


class SnapshotQuery(Inputs):
    """The snapshots that the service lists, newest first.

    Ages are by the service's clock. Without `origin`, snapshots whose origin the service does not say are found too.
    """

    database_id: str | None = declare(
        "The database whose snapshots; those of the whole account unless given.",
        default=None,
        read=checks.database_id(LIST_PURPOSE),
    )
    origin: str | None = declare(
        "`manual` or `automatic`; any unless given.", default=None, read=ORIGIN.read, choices=ORIGIN
    )
    newer_than: Duration | None = declare(
        "Only snapshots taken at most this long ago, by the service's clock; at most 30 days.", default=None, read=_age
    )
    older_than: Duration | None = declare(
        "Only snapshots taken longer ago than this, by the service's clock; at most 30 days.", default=None, read=_age
    )
    with_url: bool = declare(WITH_URL, default=False)

    @classmethod
    def problems(cls, values: Mapping[str, Any]) -> list[Problem]:
        """All problems of these values, also of the two ages together."""
        found, ages = super().problems(values), cls.known(values, "newer_than", "older_than")
        newer, older = ages.get("newer_than"), ages.get("older_than")
        if newer is not None and older is not None and newer <= older:
            reason = Text("must be longer than {older_than} (else no snapshot is both)")
            found.append(Problem("newer_than", reason, values["newer_than"]))
        return found

    @property
    def needs_times(self) -> bool:
        """Whether a snapshot fits only if its time is known."""
        return self.newer_than is not None or self.older_than is not None


class LatestQuery(Inputs):
    """The newest available snapshot of a database, no matter who took it; absent if there is none."""

    database_id: str = declare(
        "The database whose snapshot.",
        read=checks.database_id(LIST_PURPOSE),
        needed=f"the id of the database to {LIST_PURPOSE}",
    )
    origin: str | None = declare(
        "`manual` or `automatic`; any unless given.", default=None, read=ORIGIN.read, choices=ORIGIN
    )
    max_age: Duration | None = declare(
        "Only a snapshot taken at most this long ago, by the service's clock; at most 30 days.", default=None, read=_age
    )
    with_url: bool = declare(WITH_URL, default=False)

    @property
    def candidates(self) -> SnapshotQuery:
        """The snapshots of which it is the newest."""
        return SnapshotQuery(self.database_id, self.origin, self.max_age, with_url=self.with_url)


class SureLatestQuery(LatestQuery):
    """The newest available snapshot of a database, no matter who took it; an error if there is none."""

    optional: bool = declare("Whether there may be none: the result lacks it then, instead of an error.", default=False)


class UrlQuery(Inputs):
    """The download URL of a snapshot, with which anyone can read the data; it is all of the result, and a secret.

    A plain call can lose the secret's mark: use the form for outputs if the URL goes into a resource or an output.
    """

    database_id: str = declare(
        "The snapshot's database.", read=checks.database_id(LIST_PURPOSE), needed="the id of the snapshot's database"
    )
    version_id: str = declare("The snapshot's version.", read=checks.text, needed="the version to download")


class DatabaseQuery(Inputs):
    """A database of the account, and whether it runs."""

    database_id: str = declare(
        "The database.", read=checks.database_id(LOOK_UP_PURPOSE), needed=f"the id of the database to {LOOK_UP_PURPOSE}"
    )


class DatabasesQuery(Inputs):
    """All databases of the account, and whether each runs."""
