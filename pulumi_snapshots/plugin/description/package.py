"""The plugin's package: its resources and functions by their tokens, and the names of their properties."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pulumi_snapshots.engine.kinds import RULES
from pulumi_snapshots.errors import Explained, Text
from pulumi_snapshots.late import late
from pulumi_snapshots.plugin.description.references import REFERENCE
from pulumi_snapshots.plugin.wire import Names
from pulumi_snapshots.properties.catalogue import in_camel
from pulumi_snapshots.run.settings import PACKAGE
from pulumi_snapshots.snapshot.record import NAMED_BY, SNAPSHOT

if TYPE_CHECKING:
    from google.protobuf.struct_pb2 import Struct

    from pulumi_snapshots.lookup.results import Lookup
    from pulumi_snapshots.properties.unfit import Problem
    from pulumi_snapshots.run.calls import Call, Rules

T = TypeVar("T")


def token(name: str) -> str:
    """The name of a resource, a function or a type of this package in every language and in the state."""
    return f"{PACKAGE}:index:{name}"


class Kind:
    """One kind of resource: its token is its type in the state, its names are those of its properties.

    Args:
        rules: the resource's.
        lists: the name of the function that finds all of its kind; None if the service has no list of them.

    Attributes:
        refers: whether it takes a Snapshot of the program for its database and version.
        list_properties: what a list can be asked for; it has ids, so no URLs.
    """

    def __init__(self, rules: Rules, lists: str | None = None) -> None:
        self.rules, self.schema = rules, rules.schema
        self.token = token(self.schema.name)
        self.names = Names(self.schema.outputs)
        self.input_names = Names(self.schema.inputs.properties())
        self.lists = FUNCTIONS[token(lists)] if lists else None
        self.refers = lists is None
        every = self.lists.lookup.query.properties() if self.lists else {}
        self.list_properties = {name: each for name, each in every.items() if name != "with_url"}

    @property
    def accepted(self) -> list[str]:
        """All inputs by their names in programs."""
        return [*([REFERENCE] if self.refers else []), *self.input_names.all]

    def explained(self, problems: list[Problem], olds: Struct) -> list[Problem]:
        """What is wrong; if the state has a snapshot and the inputs have none, with what `ignoreChanges` must name."""
        if not self.refers or not set(map(in_camel, NAMED_BY)) <= olds.fields.keys():
            return problems
        more = Text("{reason}. If ignoreChanges names {snapshot}, name {database_id} and {version_id} there instead")
        return [
            replace(each, reason=Text(more.template, reason=each.reason)) if each.property == REFERENCE else each
            for each in problems
        ]


def _kind(name: str) -> Kind:
    return Kind(RULES[name]()(), lists="getSnapshots" if name == SNAPSHOT.name else None)


class Function:
    """One function, with the names of its arguments and of its results: it looks something up."""

    def __init__(self, lookup: Lookup[Any]) -> None:
        self.lookup = lookup
        self.token = token(in_camel(lookup.function))
        self.arguments = Names(lookup.query.properties())
        self.results = Names(lookup.result.properties())

    async def find(self, values: Mapping[str, Any], call: Call) -> Any:
        """What it finds, for arguments that have no problem.

        Raises:
            Explained: there is no latest snapshot, and the caller does not say that there may be none: that there is one is a
                promise of its type, so that no language has to ask before each use.
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


class ByToken(Mapping[str, T]):
    """The package's resources or functions by their tokens. Each is made at its first use: most runs have few of them."""

    def __init__(self, makers: Mapping[str, Callable[[], T]]) -> None:
        self._makers = {token(name): make for name, make in makers.items()}
        self._made: dict[str, T] = {}

    def __getitem__(self, key: str) -> T:
        if key not in self._made:
            self._made[key] = self._makers[key]()
        return self._made[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


KINDS = ByToken({name: partial(_kind, name) for name in RULES})
FUNCTIONS = ByToken(
    {
        "getSnapshots": lambda: Function(late("lookup.results:SNAPSHOTS")),
        "getLatestSnapshot": lambda: Function(late("lookup.results:SURE_LATEST")),
        "getDownloadUrl": lambda: Function(late("lookup.results:DOWNLOAD_URL")),
        "getDatabase": lambda: Function(late("lookup.results:DATABASE")),
        "getDatabases": lambda: Function(late("lookup.results:DATABASES")),
    }
)
