"""The package's schema, made from the declared properties: what Pulumi's generators and its YAML language read."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, get_args, get_origin

from pulumi_snapshots.guard.book import GUARD
from pulumi_snapshots.ledger.attempt import Request
from pulumi_snapshots.lookup.results import DatabaseInfo, SnapshotInfo
from pulumi_snapshots.plugin.description.examples import with_examples
from pulumi_snapshots.plugin.description.identity import VERSION, Identity
from pulumi_snapshots.plugin.description.package import FUNCTIONS, KINDS, Function, Kind, token
from pulumi_snapshots.plugin.description.references import REFERENCE
from pulumi_snapshots.properties.catalogue import (
    AS_WRITTEN,
    Bytes,
    Choices,
    Duration,
    Property,
    Record,
    ResourceSchema,
    in_camel,
    record_in,
)
from pulumi_snapshots.run.settings import PACKAGE, Settings, variable
from pulumi_snapshots.snapshot.record import NAMED_BY, SNAPSHOT

NAMES: dict[type[Record], str] = {SnapshotInfo: "FoundSnapshot", DatabaseInfo: "Database", Request: "Attempt"}
"""Types whose name is not that of their class."""
TYPES = {
    str: "string",
    Duration: "string",
    datetime: "string",
    int: "integer",
    Bytes: "number",
    float: "number",
    bool: "boolean",
}

DURATION = "Written as `90s`, `45m`, `1h30m` or `7d`; `600` is seconds."
"""How a duration is written: a text, since most languages have no good type for one of two. The plugin takes a number too."""

REPLACING = {"willReplaceOnChanges": True}
HOW_TO_IMPORT = f"""

## Import

The id names the database and the version.

```sh
$ pulumi import {token(SNAPSHOT.name)} before-release DATABASE_ID/VERSION_ID
$ pulumi import {token(SNAPSHOT.name)} newest DATABASE_ID/latest
```
"""
"""The section that the registry's pages of what can be imported end with."""
DEPRECATED = {"withUrl": "As an output, the whole result is then a secret. `getDownloadUrl` brings the URL alone."}
"""What still works, and what to use in its place. An SDK marks a lookup's result as a whole if anything in it is a secret."""


def schema() -> dict[str, Any]:
    """The schema, as the engine hands it on."""
    settings = {each.camel: _setting(each) for each in Settings.properties().values()}
    identity = Identity.of_this_package()
    names = identity.languages()
    return {
        "name": PACKAGE,
        "displayName": "Square Cloud snapshots",
        "version": VERSION,
        **identity.in_schema(),
        "keywords": ["pulumi", "squarecloud", "snapshot", "backup", "category/database", "kind/native"],
        "config": {"variables": settings},
        "provider": {"description": inspect.getdoc(Settings), "inputProperties": settings},
        "resources": {
            **{token: _resource(kind) for token, kind in KINDS.items()},
            token(GUARD.name): _component(GUARD),
        },
        "functions": {token: _function(function) for token, function in FUNCTIONS.items()},
        "types": _types(),
        "meta": {"supportPack": True},  # each generated SDK is a package of its own
        "language": {
            "nodejs": {"respectSchemaVersion": True, **names["nodejs"]},
            "python": {"respectSchemaVersion": True, "pyproject": {"enabled": True}},
            "go": {"respectSchemaVersion": True, "generateResourceContainerTypes": True, **names["go"]},
            "csharp": {"respectSchemaVersion": True, **names["csharp"]},
            "java": names["java"],
        },
    }


def _setting(each: Property) -> dict[str, Any]:
    """A setting; the key has no default, which would put it into the state."""
    default = {} if each.secret else {"defaultInfo": {"environment": [variable(each.name)]}}
    return _property(each) | default


def _resource(kind: Kind) -> dict[str, Any]:
    inputs, outputs = kind.schema.inputs.properties().values(), kind.schema.outputs.values()
    listed_by = {"type": "object", "properties": _properties(kind.list_properties.values())}
    return {
        "description": with_examples(_in_all_languages(kind.schema.doc), kind.schema.name)
        + (HOW_TO_IMPORT if kind.lists else ""),
        "properties": _properties(outputs),
        "required": [each.camel for each in outputs if kind.schema.seen(each)],
        "inputProperties": _inputs(kind),
        "requiredInputs": [
            each.camel for each in inputs if each.required and not (kind.refers and each.name in NAMED_BY)
        ],
        **({"listInputs": listed_by} if kind.lists else {}),
        # A program that gets one by its id may say what the service does not know.
        **({"stateInputs": {"type": "object", "properties": _properties(inputs)}} if kind.lists else {}),
    }


def _component(schema: ResourceSchema) -> dict[str, Any]:
    inputs, outputs = schema.inputs.properties().values(), schema.outputs.values()
    return {
        "description": with_examples(_in_all_languages(schema.doc), schema.name),
        "isComponent": True,
        "properties": _properties(outputs),
        "required": [each.camel for each in outputs if schema.seen(each)],
        "inputProperties": _properties(inputs),
        "requiredInputs": [each.camel for each in inputs if each.required],
    }


def _documented(record: type[Record]) -> str:
    return _in_all_languages(inspect.getdoc(record) or "")


def _in_all_languages(described: str) -> str:
    """A description with the names of properties as all languages but Python spell them."""
    return re.sub(r"`[a-z]+(?:_[a-z]+)+`", lambda found: in_camel(found[0]), described)


def _inputs(kind: Kind) -> dict[str, Any]:
    """The inputs, and the Snapshot of the program if the resource can take one."""
    inputs = kind.schema.inputs.properties()
    found = {each.camel: _property(each) | (REPLACING if each.replaces else {}) for each in inputs.values()}
    if not kind.refers:
        return found
    instead = " and ".join(f"`{in_camel(name)}`" for name in NAMED_BY)
    reference = {
        "$ref": f"#/resources/{token(SNAPSHOT.name)}",
        "description": f"A Snapshot of this program; or give {instead} instead.",
        **(REPLACING if all(inputs[name].replaces for name in NAMED_BY) else {}),
    }
    return {REFERENCE: reference, **found}


def _function(function: Function) -> dict[str, Any]:
    query = function.lookup.query
    inputs = _object(query, [each.camel for each in query.properties().values() if each.required])
    return {
        "description": with_examples(_documented(query), in_camel(function.lookup.function)),
        **({"inputs": inputs} if inputs["properties"] else {}),
        "outputs": _of_record(function.lookup.result),
    }


def _types() -> dict[str, Any]:
    """The records inside properties of resources and functions, and the texts of which the values are known."""
    schemas = [*(kind.schema for kind in KINDS.values()), GUARD]
    every = [each for schema in schemas for each in schema.outputs.values()]
    every += [each for function in FUNCTIONS.values() for each in function.lookup.result.properties().values()]
    records = {record for each in every if (record := record_in(each.type))}
    every += [each for function in FUNCTIONS.values() for each in function.lookup.query.properties().values()]
    every += [each for record in records for each in record.properties().values()]
    found = {_name(record): {**_of_record(record), "description": _documented(record)} for record in records}
    found |= {each.choices.name: _enum(each.choices) for each in every if each.choices}
    return {token(name): found[name] for name in sorted(found)}


def _enum(choices: Choices) -> dict[str, Any]:
    values = [{"value": value, "description": meaning} for value, meaning in choices.meanings.items()]
    return {"type": "string", "enum": values}


def _of_record(record: type[Record]) -> dict[str, Any]:
    every = record.properties().values()
    return _object(record, [each.camel for each in every if record.always(each) or each.settled])


def _object(record: type[Record], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": _properties(record.properties().values()), "required": required}


def _properties(every: Iterable[Property]) -> dict[str, Any]:
    return {each.camel: _property(each) for each in every}


def _property(each: Property) -> dict[str, Any]:
    kind = _choice(each, each.choices) if each.choices else _type(each.type)
    described = _in_all_languages(each.description.replace(AS_WRITTEN[Duration], DURATION))
    deprecated = {"deprecationMessage": DEPRECATED[each.camel]} if each.camel in DEPRECATED else {}
    return kind | {"description": described} | ({"secret": True} if each.secret else {}) | deprecated


def _choice(each: Property, choices: Choices) -> dict[str, Any]:
    """One of the known values if the property is checked for them; else any text, since the service may have more of them."""
    known = {"$ref": f"#/types/{token(choices.name)}"}
    return known if each.reader == choices.read else {"type": "string", "oneOf": [{"type": "string"}, known]}


def _type(kind: Any) -> dict[str, Any]:
    if get_origin(kind) in {list, tuple}:
        return {"type": "array", "items": _type(get_args(kind)[0])}
    record = record_in(kind)
    if record is not None:
        return {"$ref": f"#/types/{token(_name(record))}"}
    return {"$ref": "pulumi.json#/Any"} if kind is Any else {"type": TYPES.get(kind, "string")}


def _name(record: type[Record]) -> str:
    return NAMES.get(record, record.__name__)
