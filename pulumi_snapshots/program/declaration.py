"""The arguments and outputs of resources' classes and lookups, made of their definitions.

Type checkers read the same in `resources.pyi`, which `make generated` writes.
"""

from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, get_args, get_origin

from pulumi_snapshots.properties.catalogue import (
    Bytes,
    Duration,
    Property,
    Record,
    ResourceSchema,
    Rows,
    record_in,
)
from pulumi_snapshots.snapshot.record import ListedProperties, takes_snapshot

if TYPE_CHECKING:
    from pulumi_snapshots.lookup.results import Lookup

INSTEAD_OF_SNAPSHOT = ("database_id", "version_id", "download_url")
"""The inputs that may be given instead of the argument `snapshot`."""
SNAPSHOT_ANNOTATION = (
    "Snapshot | SnapshotInfo | pulumi.Output[SnapshotInfo | None] | None"
)
WHOLE_NUMBERS = frozenset({int, Bytes, Rows})
TYPES: dict[Any, str] = {
    **dict.fromkeys(WHOLE_NUMBERS, "int"),
    float: "float",
    bool: "bool",
    Duration: "str | float",
    Any: "Any",
}
"""What programs write for the types of properties; a string for every other type."""


def signature_of(schema: ResourceSchema) -> Signature:
    """Return what the constructor of a resource takes.

    A resource that is about a snapshot takes a Snapshot in place of what a Snapshot says of itself.

    Args:
        schema: the resource's definition.
    """
    by_position: Any = Parameter.POSITIONAL_OR_KEYWORD
    parameters = [
        Parameter("self", by_position),
        Parameter("resource_name", by_position, annotation="str"),
    ]
    inputs = dict(schema.inputs.properties())
    if takes_snapshot(schema):
        parameters.append(_optional("snapshot", by_position, SNAPSHOT_ANNOTATION))
        for name in ListedProperties.properties().keys() - {*INSTEAD_OF_SNAPSHOT}:
            inputs.pop(name, None)
    kind = by_position
    for name in dict.fromkeys([*schema.positional, *inputs]):
        if name not in schema.positional:
            kind = Parameter.KEYWORD_ONLY
        parameters.append(_argument(inputs[name], kind, schema))
    return Signature(
        [*parameters, _optional("opts", kind, "pulumi.ResourceOptions | None")]
    )


def signature_of_lookup(lookup: "Lookup[Any]", *, of_outputs: bool) -> Signature:
    """Return what the function of a lookup takes, as a method.

    Args:
        lookup: the lookup.
        of_outputs: whether its arguments may be outputs.
    """
    by_position: Any = Parameter.POSITIONAL_OR_KEYWORD
    parameters = [Parameter("self", by_position)]
    for each in lookup.query.properties().values():
        kind = Parameter.KEYWORD_ONLY if each.type is bool else by_position
        annotation = _input_type(each)
        if of_outputs:
            annotation = f"pulumi.Input[{annotation}]"
        parameters.append(_parameter(each, kind, annotation))
    options = "pulumi.InvokeOutputOptions" if of_outputs else "pulumi.InvokeOptions"
    opts = _optional("opts", Parameter.KEYWORD_ONLY, f"{options} | None")
    return Signature([*parameters, opts])


def signature_of_provider(settings: type[Record]) -> Signature:
    """Return what the constructor of the plugin's explicit provider takes.

    Args:
        settings: the settings.
    """
    by_name: Any = Parameter.KEYWORD_ONLY
    parameters = [
        Parameter("self", Parameter.POSITIONAL_OR_KEYWORD),
        Parameter("resource_name", Parameter.POSITIONAL_OR_KEYWORD, annotation="str"),
    ]
    for each in settings.properties().values():
        # The engine takes the settings of a provider as texts, durations too.
        kind = "int" if each.type is int else "str"
        annotation = f"pulumi.Input[{kind}] | None"
        parameters.append(_optional(each.name, by_name, annotation))
    opts = _optional("opts", by_name, "pulumi.ResourceOptions | None")
    return Signature([*parameters, opts])


def _argument(
    each: Property,
    kind: Any,
    schema: ResourceSchema,
) -> Parameter:
    annotation = f"pulumi.Input[{_input_type(each)}]"
    is_from_snapshot = takes_snapshot(schema) and each.name in INSTEAD_OF_SNAPSHOT
    # The provider says why something that must be true is not: that text says more.
    if is_from_snapshot or each.type is bool:
        return _optional(each.name, kind, f"{annotation} | None")
    return _parameter(each, kind, annotation)


def _parameter(
    each: Property,
    kind: Any,
    annotation: str,
) -> Parameter:
    if each.required:
        return Parameter(each.name, kind, annotation=annotation)
    return _optional(each.name, kind, f"{annotation} | None")


def _optional(
    name: str,
    kind: Any,
    annotation: str,
) -> Parameter:
    return Parameter(name, kind, default=None, annotation=annotation)


def _input_type(each: Property) -> str:
    if each.choices is not None:
        return f"Literal[{', '.join(map(repr, each.choices.meanings))}]"
    return _written_type(each.type)


def _written_type(kind: Any) -> str:
    """The type of what a program writes, an object also as a mapping."""
    record = record_in(kind)
    if get_origin(kind) in {list, tuple}:
        return f"Sequence[pulumi.Input[{_written_type(get_args(kind)[0])}]]"
    if record is None:
        return TYPES.get(kind, "str")
    kinds = {_written_type(each.type) for each in record.properties().values()}
    value = f"pulumi.Input[{kinds.pop()}]" if len(kinds) == 1 else "Any"
    return f"{record.__name__} | Mapping[str, {value}]"


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


def output_type(schema: ResourceSchema, each: Property) -> str:
    """Return the type of an output, as type checkers read it.

    Args:
        schema: the resource's definition.
        each: the output.
    """
    kind = _read_type(each.type)
    return f"pulumi.Output[{kind if schema.seen(each) else f'{kind} | None'}]"


def _read_type(kind: Any) -> str:
    if get_origin(kind) in {list, tuple}:
        return f"list[{_read_type(get_args(kind)[0])}]"
    return "dict[str, Any]" if record_in(kind) else TYPES.get(kind, "str")
