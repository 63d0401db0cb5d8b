"""The plugin's package: its resources and functions by their tokens, and the names of their properties."""

from functools import cached_property

from pulumi_snapshots.engine import RULES
from pulumi_snapshots.lookup.results import DATABASE, DATABASES, DOWNLOAD_URL, SNAPSHOTS, SURE_LATEST
from pulumi_snapshots.plugin.description.references import REFERENCE
from pulumi_snapshots.plugin.wire import Names
from pulumi_snapshots.properties.catalogue import Property, in_camel
from pulumi_snapshots.run.settings import PACKAGE
from pulumi_snapshots.snapshot.record import NAMED_BY, SNAPSHOT


def token(name: str) -> str:
    """The name of a resource, a function or a type of this package in every language and in the state."""
    return f"{PACKAGE}:index:{name}"


FUNCTIONS = {
    token(in_camel(each.function)): each for each in (SNAPSHOTS, SURE_LATEST, DOWNLOAD_URL, DATABASE, DATABASES)
}
LISTED: dict[str, Property] = {name: each for name, each in SNAPSHOTS.query.properties().items() if name != "with_url"}
"""What a list of Snapshots can be asked for; it has ids, so no URLs. The service has no list of another kind."""


class Kind:
    """One kind of resource: its token is its type in the state, its names are those of its outputs."""

    def __init__(self, name: str) -> None:
        self.name, self.token, self.is_listed = name, token(name), name == SNAPSHOT.name

    # Loaded at their first use: most runs have few kinds.
    rules = cached_property(lambda self: RULES[self.name]()())
    schema = cached_property(lambda self: self.rules.schema)
    names = cached_property(lambda self: Names(self.schema.outputs))
    input_names = cached_property(lambda self: Names(self.schema.inputs.properties()))
    refers = cached_property(lambda self: set(NAMED_BY) <= self.schema.inputs.properties().keys())
    """Whether it takes a Snapshot of the program for its database and version."""

    @property
    def accepted(self) -> list[str]:
        """All inputs by their names in programs."""
        return [*([REFERENCE] if self.refers else []), *self.input_names.all]


KINDS = {token(name): Kind(name) for name in RULES}
