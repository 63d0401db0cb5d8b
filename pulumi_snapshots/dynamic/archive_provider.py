"""The provider of `Archive`: its path stands in every state, so it never moves."""

from pulumi_snapshots.dynamic.provider import provider_of

ArchiveProvider = provider_of("Archive", __name__)
