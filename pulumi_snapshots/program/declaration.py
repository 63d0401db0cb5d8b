"""The arguments and outputs of resources' classes and lookups, made of their definitions.

Type checkers read the same in `resources.pyi`, which `make generated` writes, with their types.
"""

from collections.abc import Iterable
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.properties.catalogue import Bytes, Property, ResourceSchema, Rows
from pulumi_snapshots.snapshot.record import ListedProperties, takes_snapshot

if TYPE_CHECKING:
    from pulumi_snapshots.lookup.results import Lookup

INSTEAD_OF_SNAPSHOT = ("database_id", "version_id", "download_url")
"""The inputs that may be given instead of the argument `snapshot`."""
WHOLE_NUMBERS = frozenset({int, Bytes, Rows})
_BY_POSITION: Any = Parameter.POSITIONAL_OR_KEYWORD
_BY_NAME: Any = Parameter.KEYWORD_ONLY


def signature_of(schema: ResourceSchema) -> Signature:
    """Return what the constructor of a resource takes.

    A resource that is about a snapshot takes a Snapshot in place of what a Snapshot says of itself.

    Args:
        schema: the resource's definition.
    """
    parameters = [Parameter("resource_name", _BY_POSITION)]
    inputs = dict(schema.inputs.properties())
    instead: tuple[str, ...] = ()
    if takes_snapshot(schema):
        instead = INSTEAD_OF_SNAPSHOT
        parameters.append(_optional("snapshot", _BY_POSITION))
        listed = ListedProperties.properties().keys()
        for name in listed - {*instead}:
            inputs.pop(name, None)
    kind = _BY_POSITION
    for name in dict.fromkeys([*schema.positional, *inputs]):
        each = inputs[name]
        if name not in schema.positional:
            kind = _BY_NAME
        # The provider says why something that must be true is not: that text says more.
        if name in instead or each.type is bool:
            parameters.append(_optional(name, kind))
        else:
            parameters.append(_parameter(each, kind))
    return _method([*parameters, _optional("opts", kind)])


def signature_of_lookup(lookup: "Lookup[Any]") -> Signature:
    """Return what each function of a lookup takes.

    Args:
        lookup: the lookup.
    """
    parameters = []
    for each in lookup.query.properties().values():
        kind = _BY_NAME if each.type is bool else _BY_POSITION
        parameters.append(_parameter(each, kind))
    parameters.append(_optional("opts", _BY_NAME))
    return _method(parameters)


def signature_of_provider(settings: Iterable[str]) -> Signature:
    """Return what the constructor of the plugin's explicit provider takes.

    Args:
        settings: the names of the settings.
    """
    name = Parameter("resource_name", _BY_POSITION)
    others = [_optional(each, _BY_NAME) for each in settings]
    return _method([name, *others, _optional("opts", _BY_NAME)])


def _method(parameters: list[Parameter]) -> Signature:
    return Signature([Parameter("self", _BY_POSITION), *parameters])


def _parameter(each: Property, kind: Any) -> Parameter:
    if each.required:
        return Parameter(each.name, kind)
    return _optional(each.name, kind)


def _optional(name: str, kind: Any) -> Parameter:
    return Parameter(name, kind, default=None)


def outputs_of(schema: ResourceSchema) -> dict[str, Property]:
    """Return what a program reads of a resource.

    The SDK makes an output of each property that a resource names, which costs a program with
    hundreds: so there are no more than these.

    Args:
        schema: the resource's definition.
    """
    record = schema.record.properties()
    return {
        name: each
        for name, each in schema.outputs.items()
        if name in record or each.shown
    }
