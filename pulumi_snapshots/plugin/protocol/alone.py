"""A call of `pulumi do --stateless`, which has no state: its answer is all that there will be of a resource."""

from __future__ import annotations

from pulumi_snapshots.engine.wording import DO
from pulumi_snapshots.errors.wording import Wording
from pulumi_snapshots.plugin.protocol.engine import Row

NO_CHANGE = "A {} cannot be changed without a stack. `pulumi do {} create` makes another one. Nothing was changed."
NO_DELETE = (
    "A {} cannot be deleted without a stack: the service deletes no snapshot, and keeps each for 30 days. Nothing was "
    "deleted."
)


def is_alone(provider: str) -> bool:
    """Whether the URN of a provider is that of a call without a state; a stack's providers have names."""
    return bool(provider) and not provider.rpartition("::")[2]


def owner_of_call(token: str) -> str:
    """Who asks: the command, so that the same one resumes what it has sent, as those of the command line do."""
    package, _, name = token.split(":")
    return f"pulumi do {package}:{name} create"


class LoneRow(Row):
    """Where such a call is shown."""

    def _words(self, urn: str) -> Wording:
        return DO.about(resource=urn)
