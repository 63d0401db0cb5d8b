"""The provider of `Restore`: its path stands in every state, so it never moves."""

from pulumi_snapshots.dynamic.provider import provider_of

RestoreProvider = provider_of("Restore", __name__)
