"""What a property is, and what follows from its declaration. Standard library only: programs load it.

A resource, a lookup and the settings each declare their properties once, as fields of a `Record`:

    class Shelf(Record):
        owner: str = declare("Who may take things from it.")
        opened_at: Moment | None = declare("When it was opened; absent while it is closed.", default=None)

Schema, secrets, conversion to and from the state, the command line's fields and the tables of the docs are read from there.
"""

from __future__ import annotations

import inspect
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Self, dataclass_transform, get_args, get_origin, get_type_hints

from pulumi_snapshots.clock import parse_rfc3339, rfc3339
from pulumi_snapshots.properties.checks import UNKNOWN, flag, text
from pulumi_snapshots.properties.durations import duration_text
from pulumi_snapshots.properties.unfit import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["Duration", "Inputs", "Moment", "Property", "Record", "Thing", "declare", "in_camel", "in_python"]

Duration = Annotated[float, "duration"]
"""Seconds; a program may also write `90s`, `45m`, `1h30m`, `7d`."""
Moment = Annotated[str, "moment"]
"""A time as RFC 3339 in UTC."""
AS_WRITTEN = {
    Duration: "A string such as `90s`, `45m`, `1h30m`, `7d`, or a number of seconds.",
    Moment: "RFC 3339, UTC.",
    datetime: "RFC 3339, UTC.",
}
"""What is added to the documentation of a property of such a type."""


@dataclass(frozen=True)
class Property:
    """One property of a resource, a lookup or the settings.

    Attributes:
        name: in Python.
        type: of its values, without None.
        optional: whether it may be None.
        doc: what it means; sentences.
        default: what it is if it is not given; MISSING if it must be given.
        secret: whether the state encrypts it and nothing shows it.
        internal: whether only the state has it: it is no output for users.
        kept: whether the outputs repeat this input.
        needed: what it is, for the error if it must be given and is not.
        reader: what makes the value of what a program gave; raises ValueError, whose text says what would be right.
    """

    name: str
    type: Any
    optional: bool
    doc: str
    default: Any
    secret: bool
    internal: bool
    kept: bool
    needed: str
    reader: Callable[[Any], Any] | None

    @property
    def camel(self) -> str:
        """Its name in every language but Python: `databaseId`."""
        return in_camel(self.name)

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is MISSING

    @property
    def default_text(self) -> str:
        """Its default as a user would write it; empty if there is none worth telling."""
        if self.default is MISSING or not self.default:
            return ""
        return duration_text(self.default) if self.type == Duration else str(self.default)

    @property
    def description(self) -> str:
        """All that a reader needs of it: what it means, its default, how it is written, whether it is a secret."""
        default = f"{self.default_text} unless given." if self.default_text else ""
        parts = (self.doc, default, AS_WRITTEN.get(self.type, ""), "A secret." if self.secret else "")
        return " ".join(filter(None, parts))

    def read(self, given: Any) -> Any:
        """The value of what a program gave.

        Raises:
            ValueError: it cannot be used; the text says what would be right.
        """
        reader = self.reader or (flag if self.type is bool else text)
        return reader(given)

    def problem(self, given: Any) -> Problem | None:
        """What is wrong with what a program gave; `UNKNOWN` is taken to be right."""
        if given is UNKNOWN or (given is None and not self.required):
            return None
        if given is None and self.needed:
            return Problem(self.name, f"is required: {self.needed}")
        try:
            self.read(given)
        except ValueError as error:
            return Problem.of(self.name, error)
        return None


def declare(  # noqa: PLR0913  what a property is
    doc: str,
    *,
    default: Any = MISSING,
    secret: bool = False,
    internal: bool = False,
    kept: bool = True,
    needed: str = "",
    read: Callable[[Any], Any] | None = None,
    kw_only: bool = False,
) -> Any:
    """Declare a property; see `Property` for the arguments."""
    more = {"doc": doc, "secret": secret, "internal": internal, "kept": kept, "needed": needed, "reader": read}
    return field(default=default, repr=not secret, kw_only=kw_only, metadata=more)


class _Hidden:
    """A secret field: its value is under a private name, so that what prints or exports a whole record leaves it out."""

    def __init__(self, name: str) -> None:
        self._name = f"_{name}"

    def __get__(self, record: object, _class: type) -> Any:
        return self if record is None else record.__dict__[self._name]

    def __set__(self, record: object, value: Any) -> None:
        record.__dict__[self._name] = value


@dataclass_transform(frozen_default=True, field_specifiers=(declare, field))
class Record:
    """A frozen dataclass whose fields may be declared properties."""

    _sparse = False
    _computed: tuple[str, ...] = ()

    def __init_subclass__(cls, *, sparse: bool = False, computed: tuple[str, ...] = ()) -> None:
        """Make the class a dataclass.

        Args:
            sparse: whether the state has no property that has its default.
            computed: the class's own properties, in Python's sense, that are declared by their docstrings.
        """
        cls._sparse, cls._computed = sparse, computed
        dataclass(frozen=True)(cls)
        for each in fields(cls):  # type: ignore[arg-type]  # it is one now
            if each.name in cls.__dict__ and each.metadata.get("secret"):
                setattr(cls, each.name, _Hidden(each.name))

    @classmethod
    def properties(cls) -> Mapping[str, Property]:
        """The declared properties by their names in Python."""
        return _properties(cls)  # type: ignore[arg-type]  # a class has a hash

    @classmethod
    def always(cls, each: Property) -> bool:
        """Whether the state always has this property."""
        return not each.optional and not (cls._sparse and not each.required)

    def to_outputs(self) -> dict[str, Any]:
        """As the state keeps it, in plain values."""
        known = {name: getattr(self, name) for name in self.properties()}
        if self._sparse:
            known = {name: value for name, value in known.items() if value != self.properties()[name].default}
        return {name: _plain(value) for name, value in known.items()}

    @classmethod
    def from_outputs(cls, outputs: Mapping[str, Any]) -> Self:
        """From the state, which gives whole numbers back as floats and drops what is None.

        Raises:
            KeyError: it lacks a property that is always there.
        """
        known = {
            name: None if outputs.get(name) is None else _restored(each.type, outputs[name])
            for name, each in cls.properties().items()
            if name not in cls._computed and (outputs.get(name) is not None or each.required)
        }
        for name, value in known.items():
            if value is None and not cls.properties()[name].optional:
                raise KeyError(name)
        return cls(**known)


class Inputs(Record):
    """What a program gives, checked."""

    @classmethod
    def problems(cls, values: Mapping[str, Any]) -> list[Problem]:
        """Everything that is wrong with these values; those that are `UNKNOWN` are taken to be right."""
        found = (each.problem(values.get(name)) for name, each in cls.properties().items())
        return [problem for problem in found if problem]

    @classmethod
    def known(cls, values: Mapping[str, Any], *names: str) -> dict[str, Any]:
        """Those of these properties that are given, known and right."""
        given = {name: values.get(name) for name in names}
        return {
            name: cls.properties()[name].read(value)
            for name, value in given.items()
            if value is not None and value is not UNKNOWN and cls.properties()[name].problem(value) is None
        }

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """From values that have no problem."""
        given = {name: each for name, each in cls.properties().items() if values.get(name) is not None}
        return cls(**{name: each.read(values[name]) for name, each in given.items()})


@dataclass(frozen=True)
class Thing:
    """A kind of resource.

    Attributes:
        name: its class in every language.
        inputs: what a program gives.
        record: what the state keeps of it besides those inputs; its docstring says what the resource is.
    """

    name: str
    inputs: type[Inputs]
    record: type[Record]

    @property
    def doc(self) -> str:
        """What it is."""
        return inspect.getdoc(self.record) or ""

    @property
    def outputs(self) -> dict[str, Property]:
        """All properties that users may read, inputs among them."""
        return self._kept | {name: each for name, each in self.record.properties().items() if not each.internal}

    @property
    def _kept(self) -> dict[str, Property]:
        return {name: each for name, each in self.inputs.properties().items() if each.kept}

    @property
    def secrets(self) -> frozenset[str]:
        """The properties that the state encrypts and nothing shows."""
        every = {**self.record.properties(), **self.inputs.properties()}
        return frozenset(name for name, each in every.items() if each.secret)

    def always(self, each: Property) -> bool:
        """Whether the outputs always have this one."""
        return self.record.always(each) if each.name in self.record.properties() else each.required

    def state(self, record: Record, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """What the state keeps: every output, since one that is left out would be lost."""
        return {name: inputs[name] for name in self._kept if name in inputs} | record.to_outputs()


def in_camel(name: str) -> str:
    """A property's name in every language but Python: `databaseId`."""
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def in_python(properties: Mapping[str, Property], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by their Python names, those inside objects too; None does not exist."""
    python = {each.camel: each for each in properties.values()}
    known = {}
    for camel, value in values.items():
        each = python.get(camel)
        if value is not None:
            known[camel if each is None else each.name] = value if each is None else _in_python(each.type, value)
    return known


def _in_python(kind: Any, value: Any) -> Any:
    inner = record_in(kind)
    if inner is None:
        return value
    if isinstance(value, list):
        return [_in_python(inner, one) for one in value]
    return in_python(inner.properties(), value) if isinstance(value, dict) else value


def record_in(kind: Any) -> type[Record] | None:
    """The record that a property of this type is, or is a list of; None if it is neither."""
    if isinstance(kind, type) and issubclass(kind, Record):
        return kind
    return next((found for each in get_args(kind) if (found := record_in(each))), None)


@cache
def _properties(cls: Any) -> dict[str, Property]:
    return {each.name: each for each in _declared(cls)}


def _declared(cls: type[Record]) -> Iterator[Property]:
    hints = get_type_hints(cls, include_extras=True)
    for each in fields(cls):  # type: ignore[arg-type]  # a dataclass
        if "doc" in each.metadata:
            hint = hints[each.name]
            kinds = [one for one in get_args(hint) if one is not type(None)]
            optional = type(None) in get_args(hint)
            yield Property(each.name, kinds[0] if optional else hint, optional, default=each.default, **each.metadata)
    for name in cls._computed:
        kind, doc = get_type_hints(getattr(cls, name).fget)["return"], inspect.getdoc(getattr(cls, name))
        yield Property(name, kind, optional=False, default=MISSING, **declare(doc or "").metadata)


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_outputs()
    if isinstance(value, datetime):
        return rfc3339(value)
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _restored(kind: Any, value: Any) -> Any:
    if kind in {int, float, bool}:
        return kind(value)
    if kind is datetime:
        return parse_rfc3339(value)
    record = record_in(kind)
    if record is None:
        return value
    return record.from_outputs(value) if kind is record else get_origin(kind)(map(record.from_outputs, value))
