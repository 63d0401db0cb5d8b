"""The provider of `Drill`: its path stands in every state, so it never moves."""

from pulumi_snapshots.dynamic.provider import provider_of

DrillProvider = provider_of("Drill", __name__)
