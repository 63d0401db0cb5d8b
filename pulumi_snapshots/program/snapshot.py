"""The `Snapshot` resource, as programs declare it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import pulumi

from pulumi_snapshots.program import Declared, warn_of_unusual_id
from pulumi_snapshots.snapshot.record import SNAPSHOT

if TYPE_CHECKING:
    from collections.abc import Sequence


class Snapshot(Declared):
    """A snapshot of one Square Cloud database, never taken again unless you ask."""

    schema = SNAPSHOT

    database_id: pulumi.Output[str]
    triggers: pulumi.Output[list[Any] | None]
    version_id: pulumi.Output[str]
    name: pulumi.Output[str | None]
    download_url: pulumi.Output[str | None]
    download_url_expires_at: pulumi.Output[str | None]
    size: pulumi.Output[int | None]
    created_at: pulumi.Output[str | None]
    expires_at: pulumi.Output[str | None]
    available: pulumi.Output[bool]
    origin: pulumi.Output[str | None]
    runtime: pulumi.Output[str | None]
    requested_at: pulumi.Output[str | None]
    attempt: pulumi.Output[dict[str, Any] | None]

    def __init__(  # noqa: PLR0913, PLR0917  each is an input of the resource
        self,
        resource_name: str,
        database_id: pulumi.Input[str],
        triggers: pulumi.Input[Sequence[pulumi.Input[Any]]] | None = None,
        rotate_after: pulumi.Input[str | float] | None = None,
        reuse_within: pulumi.Input[str | float] | None = None,
        timeout: pulumi.Input[str | float] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        self._declare(locals())
        warn_of_unusual_id(database_id, self)

    @classmethod
    def get(
        cls,
        resource_name: str,
        id: pulumi.Input[str],  # noqa: A002  as in every Pulumi resource
        opts: pulumi.ResourceOptions | None = None,
    ) -> Self:
        """Look up an existing snapshot by `DATABASE_ID/VERSION_ID`, without managing it.

        The run fails if the snapshot does not exist.

        Args:
            resource_name: the name in this program.
            id: `DATABASE_ID/VERSION_ID`.
            opts: options of the resource; None for the usual ones.

        Returns:
            The snapshot.
        """
        snapshot = cls.__new__(cls)
        by_id = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(id=id))
        snapshot._register(resource_name, {}, by_id)  # noqa: SLF001  its own class
        return snapshot
