"""The inputs of a snapshot. Programs load it, so it loads no HTTP stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_snapshots.errors import Text
from pulumi_snapshots.properties import checks
from pulumi_snapshots.properties.catalogue import Duration, Inputs, declare
from pulumi_snapshots.properties.checks import RETENTION
from pulumi_snapshots.properties.unfit import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping


DEFAULT_TIMEOUT = 45 * 60.0
"""Seconds. A stale listing is served for up to 30 minutes; the soft deadline and the snapshot itself come on top."""
PURPOSE = "take a snapshot of"


class SnapshotInputs(Inputs):
    """The inputs of a snapshot; durations in seconds."""

    database_id: str = declare(
        "The database to take a snapshot of. Another one takes a new snapshot.",
        read=checks.database_id(PURPOSE),
        needed=f"the id of the database to {PURPOSE}",
        replaces=True,
    )
    triggers: list[Any] | None = declare(
        "Any values, such as a release. A change of any takes a new snapshot.",
        default=None,
        read=checks.triggers,
        replaces=True,
    )
    timeout: Duration = declare(
        "How long the create may take, and each resume again. The resource's custom timeout for creates wins.",
        default=DEFAULT_TIMEOUT,
        read=checks.timeout,
    )
    reuse_within: Duration = declare(
        "Before a request, adopt the newest manual snapshot of this database that is younger than this, unless it was restored since; at most 30 days.",
        default=0.0,
        read=checks.duration(most=RETENTION, may_be_zero=True),
    )
    rotate_after: Duration | None = declare(
        "An update this long after its creation takes a new snapshot; at most 30 days.",
        default=None,
        read=checks.duration(most=RETENTION),
    )

    @classmethod
    def problems(cls, values: Mapping[str, Any]) -> list[Problem]:
        """All problems of these values, also of the two ages together."""
        found = super().problems(values)
        known = cls.known(values, "rotate_after", "reuse_within")
        if not found and 0 < known.get("rotate_after", 0.0) <= known.get("reuse_within", 0.0):
            reason = Text("must be longer than {reuse_within}, else a rotation would adopt what it should renew")
            found.append(Problem("rotate_after", reason))
        return found
