"""The provider of each resource. A class's path stands in every state that it made, so it never moves."""

from __future__ import annotations

from pulumi_snapshots.dynamic.translate import Provider
from pulumi_snapshots.engine.kinds import RULES


def provider_of(name: str, module: str = __name__) -> type[Provider]:
    """The class of a resource's provider, which states find in this module."""
    return type(f"{name}Provider", (Provider,), {"__module__": module, "rules": RULES[name]()()})


SnapshotProvider = provider_of("Snapshot")


def __getattr__(name: str) -> type[Provider]:
    """The provider of a resource that has no module of its own, made at its first use."""
    kind = name.removesuffix("Provider")
    if kind == name or kind not in RULES:
        raise AttributeError(name)
    return globals().setdefault(name, provider_of(kind))  # type: ignore[no-any-return]
