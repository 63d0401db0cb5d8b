"""The plugin's package: its resources and functions by their tokens, and the names of their properties."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.engine.kinds import RULES
from pulumi_snapshots.errors import Explained, Text
from pulumi_snapshots.late import late
from pulumi_snapshots.plugin.description.references import REFERENCE
from pulumi_snapshots.plugin.wire import Names
from pulumi_snapshots.properties.catalogue import in_camel
from pulumi_snapshots.run.settings import PACKAGE
from pulumi_snapshots.snapshot.record import NAMED_BY, SNAPSHOT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.struct_pb2 import Struct

    from pulumi_snapshots.lookup.results import Lookup
    from pulumi_snapshots.properties.catalogue import Property
    from pulumi_snapshots.properties.unfit import Problem
    from pulumi_snapshots.run.calls import EngineCall


def token(name: str) -> str:
    """The name of a resource, a function or a type of this package in every language and in the state."""
    return f"{PACKAGE}:index:{name}"


class Function:
    """One function: it looks something up. Loaded at its first use, as kinds are: most runs have few of them."""

    def __init__(self, result: str) -> None:
        self._result = result

    lookup: cached_property[Lookup[Any]] = cached_property(lambda self: late(f"lookup.results:{self._result}"))

    async def find(self, values: Mapping[str, Any], call: EngineCall) -> Any:
        """What it finds, for arguments that have no problem.

        That there is a latest snapshot is a promise of its type, so that no language has to ask before each use: `Explained` is
        raised if there is none, and the caller does not say that there may be none.
        """
        session, lookup = call.session(), self.lookup
        found = await late("lookup.find:find")(lookup, session, values, session.listings.recent, call.listener.progress)
        if note := session.take_note():
            call.listener.warn(note)
        if found is None and not values.get("optional"):
            fits = " that fits" if values.keys() & {"origin", "max_age"} else ""
            happened = f"database {values['database_id']} has no available snapshot{fits}"
            raise Explained(happened, Text("With {optional}, the result lacks it instead."))
        return found


FUNCTIONS = {
    token("getSnapshots"): Function("SNAPSHOTS"),
    token("getLatestSnapshot"): Function("SURE_LATEST"),
    token("getDownloadUrl"): Function("DOWNLOAD_URL"),
    token("getDatabase"): Function("DATABASE"),
    token("getDatabases"): Function("DATABASES"),
}


class Kind:
    """One kind of resource: its token is its type in the state, its names are those of its outputs.

    Attributes:
        lists: the function that finds all of its kind; None if the service has no list of them.
    """

    def __init__(self, name: str) -> None:
        self._name, self.token = name, token(name)
        self.lists = FUNCTIONS[token("getSnapshots")] if name == SNAPSHOT.name else None

    rules = cached_property(lambda self: RULES[self._name]()())
    schema = cached_property(lambda self: self.rules.schema)
    names = cached_property(lambda self: Names(self.schema.outputs))
    input_names = cached_property(lambda self: Names(self.schema.inputs.properties()))
    refers = cached_property(lambda self: set(NAMED_BY) <= self.schema.inputs.properties().keys())
    """Whether it takes a Snapshot of the program for its database and version."""

    @property
    def list_properties(self) -> dict[str, Property]:
        """What a list can be asked for; it has ids, so no URLs."""
        every = self.lists.lookup.query.properties() if self.lists else {}
        return {name: each for name, each in every.items() if name != "with_url"}

    @property
    def accepted(self) -> list[str]:
        """All inputs by their names in programs."""
        return [*([REFERENCE] if self.refers else []), *self.input_names.all]

    def explained(self, problems: list[Problem], olds: Struct) -> list[Problem]:
        """What is wrong; if the state has a snapshot and the inputs have none, with what `ignoreChanges` must name."""
        if not self.refers or not set(map(in_camel, NAMED_BY)) <= olds.fields.keys():
            return problems
        more = "{reason}. If ignoreChanges names {snapshot}, name {database_id} and {version_id} there instead"
        return [
            replace(each, reason=Text(more, reason=each.reason)) if each.property == REFERENCE else each
            for each in problems
        ]


KINDS = {token(name): Kind(name) for name in RULES}
