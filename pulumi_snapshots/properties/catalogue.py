"""Declares the properties of resources, lookups and the settings.

Each property is declared once, as a field of a `Record`. Programs load this module, so it loads no
HTTP stack.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from datetime import datetime
from enum import Enum
from functools import cache, cached_property
from typing import (
    Annotated,
    Any,
    ClassVar,
    Self,
    cast,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.properties.checks import (
    UNKNOWN,
    Problem,
    database_id,
    duration_text,
    flag,
    one_of,
    text,
)

Duration = Annotated[float, "duration"]
"""Seconds; a program may also write `90s`, `45m`, `1h30m`, `7d`."""
Bytes = Annotated[int, "bytes"]
"""A number of bytes. The integers of C# and Java end at 2 GiB."""
Rows = Annotated[int, "rows"]
"""A number of rows, which can be larger than the integers of C# and Java, too."""
Moment = Annotated[str, "moment"]
"""A time as RFC 3339 in UTC."""
Values = Mapping[str, Any]
"""Values of inputs or outputs, by the names of their properties in Python."""
AS_WRITTEN = {
    Duration: "A string such as `90s`, `45m`, `1h30m`, `7d`, or a number of seconds.",
    Moment: "RFC 3339, UTC.",
    datetime: "RFC 3339, UTC.",
}
"""How values of a type are written, for the documentation."""


@dataclass(frozen=True)
class Choices:
    """The possible values of a text, as far as they are known, and their meanings.

    Languages with such types have a name for each value.
    """

    name: str
    meanings: Mapping[str, str]

    def read(self, given: Any) -> str:
        """Return a value if it is one of the choices.

        Args:
            given: the value.

        Raises:
            ValueError: The value is none of the choices, which the text names.
        """
        return one_of(*self.meanings)(given)


@dataclass(frozen=True)
class Property:
    """One property of a resource, a lookup or the settings, by its name in Python."""

    name: str
    type: Any  # without None
    optional: bool  # whether it may be None
    default: Any  # MISSING if it must be given
    doc: str
    secret: bool = False  # the state encrypts it, and nothing shows it
    internal: bool = False  # only the state has it: users do not read it as an output
    kept: bool = True  # the outputs repeat this input
    # only an unfinished resource lacks it, which programs do not see
    settled: bool = False
    needed: str = ""  # what it is, for the error if it is missing
    # Makes the value from what a program gave; raises ValueError, whose text says what would be
    # right.
    reader: Callable[[Any], Any] | None = None
    # the known values of a text; the service may have more
    choices: Choices | None = None
    replaces: bool = False  # another value makes another resource in place of this one
    repeats: bool = False  # another value lets an update act again
    shown: bool = False  # programs in Python read this input as an output, too

    @cached_property
    def camel(self) -> str:
        """Its name in all languages other than Python: `databaseId`."""
        return in_camel(self.name)

    @cached_property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is MISSING

    @property
    def default_text(self) -> str:
        """Its default as a user would write it; empty for no default, or an empty one."""
        if self.default is MISSING or not self.default:
            return ""
        if isinstance(self.default, tuple):
            return ", ".join(self.default)
        return (
            duration_text(self.default) if self.type == Duration else str(self.default)
        )

    @property
    def description(self) -> str:
        """The documentation.

        Its meaning, its default, its format, and whether it is a secret.
        """
        default = f"{self.default_text} unless given." if self.default_text else ""
        parts = (
            self.doc,
            default,
            AS_WRITTEN.get(self.type, ""),
            "A secret." if self.secret else "",
        )
        return " ".join(filter(None, parts))

    def read(self, given: Any) -> Any:
        """Return the checked value of what a program gave.

        Args:
            given: the value from the program.

        Raises:
            ValueError: The value does not fit; the text says what would.
        """
        reader = self.reader or (flag if self.type is bool else text)
        return reader(given)

    def problem(self, given: Any) -> Problem | None:
        """Return what is wrong with a value; None if nothing is, or if it is `UNKNOWN`.

        Args:
            given: the value from the program.
        """
        if given is UNKNOWN or (given is None and not self.required):
            return None
        if given is None and self.needed:
            return Problem(self.name, f"is required: {self.needed}")
        try:
            self.read(given)
        except ValueError as error:
            return Problem.of(self.name, error)
        return None


def declare(
    doc: str,
    *,
    default: Any = MISSING,
    secret: bool = False,
    kw_only: Any = MISSING,
    **more: Any,
) -> Any:
    """Declare a property of a `Record`; see `Property` for the arguments.

    Args:
        doc: the description.
        default: the value without input; none makes the property required.
        secret: whether the value is a secret.
        kw_only: as in `dataclasses.field`.
        **more: the other fields of `Property`.

    Returns:
        The field.

    Example:
        >>> class Query(Inputs):
        ...     origin: str | None = declare("Only snapshots of this origin.", default=None)
    """
    more |= {"doc": doc, "secret": secret, "reader": more.pop("read", None)}
    return field(default=default, repr=not secret, kw_only=kw_only, metadata=more)


def declare_database(doc: str, purpose: str, *, replaces: bool = False) -> Any:
    """Declare the id of a database that must be given.

    Args:
        doc: the description.
        purpose: the purpose, as in `checks.database_id`.
        replaces: whether another database replaces the resource.

    Returns:
        The field.
    """
    needed = f"the id of the database to {purpose}"
    return declare(doc, read=database_id(purpose), needed=needed, replaces=replaces)


def _hidden(name: str) -> property:
    """A secret field, whose value a function keeps: a dump of all attributes does not show it."""
    attribute = f"_{name}"
    return property(
        lambda record: record.__dict__[attribute](),
        lambda record, value: record.__dict__.update({attribute: lambda: value}),
    )


@dataclass_transform(
    frozen_default=True, field_specifiers=(declare, declare_database, field)
)
class Record:
    """A frozen dataclass whose fields may be declared properties."""

    _sparse = False
    _computed: tuple[str, ...] = ()
    _declared: ClassVar[dict[str, Field[Any]]] = {}

    def __init_subclass__(
        cls,
        *,
        sparse: bool = False,
        computed: tuple[str, ...] = (),
        result: bool = False,
    ) -> None:
        """Make the class a dataclass.

        Args:
            sparse: whether the state leaves out properties that have their defaults.
            computed: names of Python properties, which are declared by their docstrings.
            result: whether programs get the record. A secret of a result is no field, so that
                `asdict` does not show the secret.
        """
        cls._sparse = sparse
        cls._computed = computed
        dataclass(frozen=True)(cls)
        cls._declared = {each.name: each for each in fields(cls)}  # type: ignore[arg-type]  # a dataclass
        for each in cls._declared.values():
            if each.name in inspect.get_annotations(cls) and each.metadata.get(
                "secret"
            ):
                setattr(cls, each.name, _hidden(each.name))
                if result:
                    del cls.__dataclass_fields__[each.name]  # type: ignore[attr-defined]  # a dataclass

    @classmethod
    def properties(cls) -> Mapping[str, Property]:
        """Return the declared properties by their names in Python."""
        return _properties(cls)  # type: ignore[arg-type]  # a class has a hash

    @classmethod
    def always(cls, each: Property) -> bool:
        """Return whether the state always has a property.

        Args:
            each: the property.
        """
        return not each.optional and not (cls._sparse and not each.required)

    def to_outputs(self) -> dict[str, Any]:
        """Return the plain values that the state keeps."""
        return {
            name: _plain(getattr(self, name))
            for name, each in self.properties().items()
            if not self._sparse or getattr(self, name) != each.default
        }

    @classmethod
    def from_outputs(cls, outputs: Values) -> Self:
        """Make a record from the state, which returns whole numbers as floats and drops None.

        Args:
            outputs: the values in the state.

        Returns:
            The record.

        Raises:
            TypeError: The state lacks a property.
        """
        absent, restorers = _restorers(cls)  # type: ignore[arg-type]  # a class has a hash
        restored = {
            name: restorers[name](value)
            for name, value in outputs.items()
            if value is not None and name in restorers
        }
        return cls(**absent | restored)


class Inputs(Record):
    """The checked inputs from a program."""

    @classmethod
    def problems(cls, values: Values) -> list[Problem]:
        """Return all problems of the inputs; an `UNKNOWN` value has none.

        Args:
            values: inputs by their names in Python.
        """
        problems = (
            each.problem(values.get(name)) for name, each in cls.properties().items()
        )
        return [problem for problem in problems if problem]

    @classmethod
    def known(cls, values: Values, *names: str) -> dict[str, Any]:
        """Return the values of some properties that are given, known and valid.

        Args:
            values: inputs by their names in Python.
            *names: the properties.
        """
        properties = {
            name: cls.properties()[name]
            for name in names
            if values.get(name) not in (None, UNKNOWN)
        }
        return {
            name: each.read(values[name])
            for name, each in properties.items()
            if not each.problem(values[name])
        }

    @classmethod
    def of(cls, values: Values) -> Self:
        """Make the inputs from values without a problem.

        Args:
            values: inputs by their names in Python.

        Returns:
            The inputs.
        """
        read = {
            name: each.read(values[name])
            for name, each in cls.properties().items()
            if values.get(name) is not None
        }
        return cls(**read)


@dataclass(frozen=True)
class ResourceSchema:
    """The inputs and outputs of one resource."""

    name: str
    """Its class in every language."""
    inputs: type[Inputs]
    record: type[Record]
    """What the state keeps of it besides the inputs; its docstring says what the resource is."""
    is_found_by_id: bool = False
    """Whether the service can be asked for all that the state keeps, by the resource's id alone."""
    positional: tuple[str, ...] = ()
    """The inputs that a program in Python may give without their names, in this order."""
    scopes: tuple[str, ...] = ()
    """The scopes without which an API key cannot make it."""
    scopes_for_more: tuple[str, ...] = ()
    """The scopes without which it tells less."""

    @property
    def doc(self) -> str:
        """The description of the resource."""
        return inspect.getdoc(self.record) or ""

    @cached_property
    def outputs(self) -> Mapping[str, Property]:
        """All properties that users may read, including inputs."""
        return self._kept | {
            name: each
            for name, each in self.record.properties().items()
            if not each.internal
        }

    @cached_property
    def _kept(self) -> dict[str, Property]:
        return {
            name: each for name, each in self.inputs.properties().items() if each.kept
        }

    @cached_property
    def properties(self) -> Mapping[str, Property]:
        """All properties, of the inputs and of the record."""
        return {**self.inputs.properties(), **self.record.properties()}

    @cached_property
    def secrets(self) -> frozenset[str]:
        """The properties that the state encrypts and nothing shows."""
        properties = {**self.record.properties(), **self.inputs.properties()}
        return frozenset(name for name, each in properties.items() if each.secret)

    @cached_property
    def foreign(self) -> set[str]:
        """The names of properties in other languages, if they differ there."""
        return {
            each.camel for each in self.properties.values()
        } - self.properties.keys()

    def seen(self, each: Property) -> bool:
        """Return whether a program always sees an output, once the resource is finished.

        Args:
            each: the output.
        """
        recorded = self.record.properties()
        return each.settled or (
            self.record.always(each) if each.name in recorded else each.required
        )

    def state(self, record: Record, inputs: Values) -> dict[str, Any]:
        """Return every output for the state. The engine loses an output that is left out.

        Args:
            record: the record.
            inputs: the inputs.
        """
        return {
            name: inputs[name] for name in self._kept if name in inputs
        } | record.to_outputs()


@cache
def in_camel(name: str) -> str:
    """Return a property's name in all languages other than Python: `databaseId`.

    Args:
        name: the name in Python.
    """
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def in_python(
    properties: Mapping[str, Property],
    values: Mapping[str, Any],
    *,
    to_camel: bool = False,
) -> dict[str, Any]:
    """Return values by their Python names, also inside objects, without None.

    Args:
        properties: the properties by their names in Python.
        values: the values by the names of all other languages. A value whose name is no property's
            keeps its name.
        to_camel: True converts the other way, from the names in Python.
    """
    renamed = {name: value for name, value in values.items() if value is not None}
    for each in properties.values():
        old = each.name if to_camel else each.camel
        new = each.camel if to_camel else each.name
        if old in renamed:
            value = renamed.pop(old)
            renamed[new] = in_camels(each.type, value, to_camel=to_camel)
    return renamed


def in_camels(kind: Any, value: Any, *, to_camel: bool = True) -> Any:
    """Return the value of a property as all languages other than Python have it.

    Objects that are records get the names of those languages.

    Args:
        kind: the property's type.
        value: the value.
        to_camel: False converts the other way.
    """
    inner = record_in(kind)
    if inner is not None and isinstance(value, list):
        return [in_camels(inner, each, to_camel=to_camel) for each in value]
    if inner is not None and isinstance(value, dict):
        return in_python(inner.properties(), value, to_camel=to_camel)
    return value


@cache
def record_in(kind: Any) -> type[Record] | None:
    """Return the record type in a property of a type, or in its list; None if there is none.

    Args:
        kind: the property's type.
    """
    if isinstance(kind, type) and issubclass(kind, Record):
        return kind
    records = map(record_in, get_args(kind))
    return next(filter(None, records), None)


@cache
def _properties(cls: Any) -> dict[str, Property]:
    properties = {}
    hints = get_type_hints(cls, include_extras=True)
    for each in cls._declared.values():
        if "doc" in each.metadata:
            hint = hints[each.name]
            optional = type(None) in get_args(hint)
            kind = (
                next(part for part in get_args(hint) if part is not type(None))
                if optional
                else hint
            )
            properties[each.name] = Property(
                each.name,
                kind,
                optional,
                each.default,
                **each.metadata,
            )
    for name in cls._computed:
        kind = get_type_hints(getattr(cls, name).fget)["return"]
        doc = inspect.getdoc(getattr(cls, name))
        properties[name] = Property(
            name,
            kind,
            optional=False,
            default=MISSING,
            doc=doc or "",
        )
    return properties


def _plain(value: Any) -> Any:
    """A value as the state keeps it, without classes of this package."""
    if isinstance(value, Record):
        return value.to_outputs()
    if isinstance(value, datetime):
        return rfc3339(value)
    return list(map(_plain, value)) if isinstance(value, list | tuple) else value


@cache
def _restorers(
    cls: Any,
) -> tuple[dict[str, None], dict[str, Callable[[Any], Any]]]:
    """How to make a record from the state, which drops None and knows no types.

    Returns None for each property that must be given and may be None, and the function that makes
    each property's value of the state's value.
    """
    stored = {
        name: each
        for name, each in cls.properties().items()
        if name not in cls._computed
    }
    absent = {
        name: None for name, each in stored.items() if each.required and each.optional
    }
    return absent, {name: _restorer(each.type) for name, each in stored.items()}


def _restorer(kind: Any) -> Callable[[Any], Any]:
    """The function that makes a value of a type of the state's value."""
    if kind is datetime:
        return datetime.fromisoformat
    if kind in {Bytes, Rows}:
        return int
    if kind in {int, float, bool} or (
        isinstance(kind, type) and issubclass(kind, Enum)
    ):
        return cast("Callable[[Any], Any]", kind)
    record = record_in(kind)
    if record is None:
        return lambda value: value
    restore = record.from_outputs
    if kind is record:
        return restore
    return lambda values: get_origin(kind)(map(restore, values))
