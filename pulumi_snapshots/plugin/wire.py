"""Values as the engine sends them and as operations know them: unknowns, secrets, and each language's names.

The names follow from the declared properties of each resource.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.struct_pb2 import ListValue, Struct, Value

from pulumi_snapshots.engine.errors import readable
from pulumi_snapshots.engine.marks import FILES, OUTPUT, RESOURCE, SECRET, SIGNATURE
from pulumi_snapshots.properties.catalogue import Property, in_python, record_in
from pulumi_snapshots.properties.checks import FILE, UNKNOWN

UNKNOWN_STRING = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
UNKNOWNS = frozenset(
    {
        UNKNOWN_STRING,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # a boolean
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # a number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # a list
        "030794c1-ac77-496b-92df-f27374a8bd58",  # an asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # an archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # an object
    }
)
"""An unknown of each type; most SDKs send that of a string for all of them."""

UNKNOWN_VALUE = Value(string_value=UNKNOWN_STRING)


def plain(value: Value) -> Any:
    """The value without its marks; `UNKNOWN` if a preview does not know it."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        fields = value.struct_value.fields
        mark = fields[SIGNATURE].string_value if SIGNATURE in fields else ""
        if mark in MARKED:
            return MARKED[mark](fields)
        return {name: plain(item) for name, item in fields.items()}
    if kind == "list_value":
        return [plain(item) for item in value.list_value.values]
    if kind is None or kind == "null_value":
        return None
    found = getattr(value, kind)
    return UNKNOWN if kind == "string_value" and found in UNKNOWNS else found


def _of_output(fields: Mapping[str, Value]) -> Any:
    return plain(fields["value"]) if "value" in fields else UNKNOWN


def _of_resource(fields: Mapping[str, Value]) -> Any:
    """The id, which a preview may not know; a component has none."""
    return (plain(fields["id"]) or UNKNOWN) if "id" in fields else plain(fields["urn"])


MARKED: dict[str, Callable[[Mapping[str, Value]], Any]] = {
    SECRET: lambda fields: plain(fields["value"]),
    OUTPUT: _of_output,
    RESOURCE: _of_resource,
    **dict.fromkeys(FILES, lambda _: FILE),
}
"""What the fields of a marked value are to operations."""


def is_secret(value: Value) -> bool:
    """Whether the value is marked as a secret."""
    fields = value.struct_value.fields
    mark = fields[SIGNATURE].string_value if SIGNATURE in fields else ""
    return mark == SECRET or (mark == OUTPUT and fields["secret"].bool_value)


def holds_secret(value: Value) -> bool:
    """Whether the value or something in it is a secret."""
    inside = [*value.struct_value.fields.values(), *value.list_value.values]
    return is_secret(value) or any(holds_secret(each) for each in inside)


def as_secret(value: Value) -> Value:
    """The value marked as a secret."""
    if is_secret(value):
        return value
    marked = Value()
    marked.struct_value.fields[SIGNATURE].string_value = SECRET
    marked.struct_value.fields["value"].CopyFrom(value)
    return marked


def value_of(value: Any) -> Value:
    """A plain value as the engine takes it; None in an object is left out."""
    if value is UNKNOWN:
        return UNKNOWN_VALUE
    made = Value()
    if value is None:
        made.null_value = 0
    elif isinstance(value, bool):
        made.bool_value = value
    elif isinstance(value, int | float):
        made.number_value = value
    elif isinstance(value, dict):
        made.struct_value.SetInParent()
        for name, item in value.items():
            if item is not None:
                made.struct_value.fields[name].CopyFrom(value_of(item))
    elif isinstance(value, list | tuple):
        made.list_value.SetInParent()
        made.list_value.values.extend(value_of(item) for item in value)
    else:
        made.string_value = readable(str(value))
    return made


class Names:
    """The names of properties: `database_id` in Python, `databaseId` on the wire."""

    def __init__(self, properties: Mapping[str, Property]) -> None:
        self._properties = properties
        self._wire = {name: each.camel for name, each in properties.items()}
        records = {name: record_in(each.type) for name, each in properties.items()}
        self._inner = {name: Names(record.properties()) for name, record in records.items() if record}

    @property
    def all(self) -> list[str]:
        """All names on the wire."""
        return list(self._wire.values())

    def wire(self, name: str) -> str:
        """The name of a property on the wire."""
        return self._wire.get(name, name)

    def unknown_to(self, properties: Struct) -> list[str]:
        """The wire names that are no properties; the engine's own begin with two underscores."""
        return [name for name in properties.fields if name not in self.all and not name.startswith("__")]

    def are_pythons(self, properties: Struct) -> bool:
        """Whether the properties have Python's names, as the dynamic provider leaves them in the state."""
        return any(self._wire.get(name, name) != name for name in properties.fields)

    def read(self, properties: Struct) -> dict[str, Any]:
        """The properties as plain values by their Python names; null is left out."""
        return in_python(self._properties, {name: plain(value) for name, value in properties.fields.items()})

    def write(self, values: Mapping[str, Any], *, echo: Struct | None = None) -> Struct:
        """Plain values by their Python names as the engine takes them, with secrets marked; None is left out.

        A value that equals the one in `echo`, which the engine has sent, goes back with the marks that it came with.
        """
        came = echo.fields if echo is not None else {}
        made = Struct()
        for name, value in values.items():
            wire = self.wire(name)
            if wire in came and plain(came[wire]) == value:
                put = came[wire]
            elif value is None:
                continue
            else:
                put = self._value(name, value)
            each = self._properties.get(name)
            made.fields[wire].CopyFrom(as_secret(put) if each and each.secret else put)
        return made

    def _value(self, name: str, value: Any) -> Value:
        inner = self._inner.get(name)
        if inner is None:
            return value_of(value)
        if isinstance(value, list):
            return Value(list_value=ListValue(values=[self._value(name, each) for each in value]))
        return Value(struct_value=inner.write(value)) if isinstance(value, dict) else value_of(value)
