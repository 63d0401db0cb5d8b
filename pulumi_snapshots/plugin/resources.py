"""The plugin's resources, as Python programs declare them: inputs, outputs and texts are those of the top level."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pulumi

from pulumi_snapshots.attempt.post import Post
from pulumi_snapshots.declaration.archive import ARCHIVE_OUTPUTS, ArchiveDeclaration
from pulumi_snapshots.declaration.restore import RESTORE_OUTPUTS, RestoreDeclaration
from pulumi_snapshots.declaration.snapshot import SNAPSHOT_OUTPUTS, SnapshotDeclaration
from pulumi_snapshots.plugin.resource import PACKAGE, PluginResource, in_camel, in_python

__all__ = ["Archive", "Provider", "Restore", "Snapshot"]

_ATTEMPT = tuple(each.name for each in fields(Post))


class Snapshot(PluginResource, SnapshotDeclaration):  # noqa: D101  the declaration's
    __doc__ = SnapshotDeclaration.__doc__
    __annotations__ = SnapshotDeclaration.__annotations__  # the SDK looks for types in the class itself
    kind = "Snapshot"
    output_names = SNAPSHOT_OUTPUTS

    @property
    def attempt(  # type: ignore[override]  # read only, as all outputs are
        self,
    ) -> pulumi.Output[dict[str, Any] | None]:
        """Only while pending: `posted_at`, `service_clock_offset` (seconds), `answered`, `timeout` (seconds)."""
        return _attempt_of(self)


class Restore(PluginResource, RestoreDeclaration):  # noqa: D101  the declaration's
    __doc__ = RestoreDeclaration.__doc__
    __annotations__ = RestoreDeclaration.__annotations__  # the SDK looks for types in the class itself
    kind = "Restore"
    output_names = RESTORE_OUTPUTS

    @property
    def attempt(  # type: ignore[override]  # read only, as all outputs are
        self,
    ) -> pulumi.Output[dict[str, Any] | None]:
        """Only until then: `posted_at`, `service_clock_offset` (seconds), `answered`, `timeout` (seconds), `seen_down`."""
        return _attempt_of(self)


class Archive(PluginResource, ArchiveDeclaration):  # noqa: D101  the declaration's
    __doc__ = ArchiveDeclaration.__doc__
    __annotations__ = ArchiveDeclaration.__annotations__  # the SDK looks for types in the class itself
    kind = "Archive"
    output_names = ARCHIVE_OUTPUTS


class Provider(pulumi.ProviderResource):
    """An account: its own key, requests and address, which beat the stack's config and the environment.

    Args:
        resource_name: the resource's name in the program.
        api_key: the bare key; a secret. `SQUARECLOUD_API_KEY` unless given.
        api_url: the API's address.
        snapshots_url: the snapshot host, for listings whose entries carry no URL of their own.
        requests_per_minute: the account's budget, as its plan has it.
        requests_for_others: how many of these are left to others.
        first_look_after: from an answer 202 to the first look at a listing.
        look_every: between looks for one snapshot.
        block_wait: how long a block lasts where the service does not say.
        restore_settle: how long a restored database must be seen running where it was never seen down.
        opts: as for every resource.
    """

    def __init__(  # noqa: PLR0913  each is a setting
        self,
        resource_name: str,
        *,
        api_key: pulumi.Input[str] | None = None,
        api_url: pulumi.Input[str] | None = None,
        snapshots_url: pulumi.Input[str] | None = None,
        requests_per_minute: pulumi.Input[int] | None = None,
        requests_for_others: pulumi.Input[int] | None = None,
        first_look_after: pulumi.Input[str] | None = None,
        look_every: pulumi.Input[str] | None = None,
        block_wait: pulumi.Input[str] | None = None,
        restore_settle: pulumi.Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        settings = {
            "api_key": None if api_key is None else pulumi.Output.secret(api_key),
            "api_url": api_url,
            "snapshots_url": snapshots_url,
            # The engine takes a provider's numbers as texts.
            "requests_per_minute": _text(requests_per_minute),
            "requests_for_others": _text(requests_for_others),
            "first_look_after": first_look_after,
            "look_every": look_every,
            "block_wait": block_wait,
            "restore_settle": restore_settle,
        }
        super().__init__(PACKAGE, resource_name, {in_camel(name): value for name, value in settings.items()}, opts)


def _attempt_of(resource: PluginResource) -> pulumi.Output[dict[str, Any] | None]:
    found: pulumi.Output[Any] = resource.__dict__["attempt"]
    return found.apply(lambda known: None if known is None else in_python(known, _ATTEMPT))


def _text(number: pulumi.Input[int] | None) -> pulumi.Output[str] | None:
    return None if number is None else pulumi.Output.from_input(number).apply(str)
