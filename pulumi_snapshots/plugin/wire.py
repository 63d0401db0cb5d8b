"""Values as the engine sends them and as operations know them.

They differ in unknowns, secrets, and each language's names.
"""

from collections.abc import Mapping
from typing import Any

from google.protobuf.struct_pb2 import ListValue, Struct, Value

from pulumi_snapshots.engine import FILES, OUTPUT, RESOURCE, SECRET, SIGNATURE
from pulumi_snapshots.engine.wording import readable
from pulumi_snapshots.properties.catalogue import Property, Values, in_python, record_in
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
    """Return a value without the engine's marks.

    Args:
        value: A value from the engine.

    Returns:
        The plain value; `UNKNOWN` if a preview does not know it.
    """
    kind = value.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    if kind == "struct_value":
        return _plain_object(value)
    if kind == "list_value":
        return [plain(item) for item in value.list_value.values]
    scalar = getattr(value, kind)
    return UNKNOWN if scalar in UNKNOWNS else scalar


def _plain_object(value: Value) -> Any:
    """The plain value of an object, which can be a marked value of any kind."""
    fields = value.struct_value.fields
    mark = _mark(value)
    if mark in {SECRET, OUTPUT}:
        return plain(fields["value"]) if "value" in fields else UNKNOWN
    if mark == RESOURCE and "id" in fields:  # a preview may not know it
        return plain(fields["id"]) or UNKNOWN
    if mark == RESOURCE:  # a component, which has none
        return plain(fields["urn"])
    if mark in FILES:
        return FILE
    return _plains(fields)


def _plains(fields: Mapping[str, Value]) -> dict[str, Any]:
    return {name: plain(item) for name, item in fields.items()}


def field(properties: Struct, name: str) -> Any:
    """Return a property as a plain value; None without the property.

    Args:
        properties: The properties.
        name: The name on the wire.
    """
    return plain(properties.fields.get(name, Value()))


def _mark(value: Value) -> str:
    fields = value.struct_value.fields
    return str(fields.get(SIGNATURE, Value()).string_value)


def is_secret(value: Value) -> bool:
    """Return whether a value is marked as a secret.

    Args:
        value: A value from the engine.
    """
    mark = _mark(value)
    if mark == OUTPUT:
        return bool(value.struct_value.fields["secret"].bool_value)
    return mark == SECRET


def holds_secret(value: Value) -> bool:
    """Return whether a value or something in it is a secret.

    Args:
        value: A value from the engine.
    """
    fields = value.struct_value.fields
    inside = [*fields.values(), *value.list_value.values]
    return is_secret(value) or any(map(holds_secret, inside))


def as_secret(value: Value) -> Value:
    """Return a value marked as a secret.

    Args:
        value: A value from the engine.
    """
    if is_secret(value):
        return value
    marked = Struct()
    marked.fields[SIGNATURE].string_value = SECRET
    marked.fields["value"].CopyFrom(value)
    return Value(struct_value=marked)


def value_of(value: Any) -> Value:
    """Return a plain value as the engine takes it; None in an object is left out.

    Args:
        value: The plain value.
    """
    if isinstance(value, dict):
        inside = {
            name: value_of(item) for name, item in value.items() if item is not None
        }
        return Value(struct_value=Struct(fields=inside))
    if isinstance(value, list | tuple):
        return Value(list_value=ListValue(values=map(value_of, value)))
    if isinstance(value, bool):
        return Value(bool_value=value)
    if isinstance(value, int | float):
        return Value(number_value=value)
    if value is None:
        return Value(null_value=0)
    text = UNKNOWN_STRING if value is UNKNOWN else readable(str(value))
    return Value(string_value=text)


class Names:
    """The names of properties: `database_id` in Python, `databaseId` on the wire."""

    def __init__(self, properties: Mapping[str, Property]) -> None:
        self._properties = properties
        self.all = [each.camel for each in properties.values()]

    def wire(self, name: str) -> str:
        """Return the name of a property on the wire.

        Args:
            name: The name in Python.
        """
        each = self._properties.get(name)
        return each.camel if each else name

    def read(self, properties: Struct) -> dict[str, Any]:
        """Return properties as plain values by their Python names; null is left out.

        Args:
            properties: The properties on the wire.
        """
        return in_python(self._properties, _plains(properties.fields))

    def write(
        self,
        values: Values,
        *,
        echo: Struct | None = None,
    ) -> Struct:
        """Return plain values by their Python names as the engine takes them, with secrets marked.

        None is left out.

        Args:
            values: The values.
            echo: The properties that the engine has sent; a value that equals one of them keeps its
                marks. None for no such properties.
        """
        sent = (echo or Struct()).fields
        properties = Struct()
        for name, value in values.items():
            wire = self.wire(name)
            each = self._properties.get(name)
            if wire in sent and plain(sent[wire]) == value:
                written = sent[wire]
            elif value is None:
                continue
            else:
                written = _written(value, each and record_in(each.type))
            if each is not None and each.secret:
                written = as_secret(written)
            properties.fields[wire].CopyFrom(written)
        return properties


def _written(value: Any, record: Any) -> Value:
    """Convert a value that may be a record, or a list of records.

    Their properties have names and secrets of their own.
    """
    if record is not None and isinstance(value, list):
        values = [_written(each, record) for each in value]
        return Value(list_value=ListValue(values=values))
    if record is not None and isinstance(value, dict):
        names = Names(record.properties())
        return Value(struct_value=names.write(value))
    return value_of(value)
