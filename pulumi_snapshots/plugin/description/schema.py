"""The package's schema, made from the declared properties.

Pulumi's generators and its YAML language read it.
"""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin

from pulumi_snapshots.guard.book import GUARD
from pulumi_snapshots.ledger.attempt import Request
from pulumi_snapshots.lookup.results import DatabaseInfo, Lookup, SnapshotInfo
from pulumi_snapshots.plugin.description.identity import PLUGIN_VERSION, Identity
from pulumi_snapshots.plugin.description.package import (
    FUNCTIONS,
    LISTED,
    REFERENCE,
    RESOURCE_KINDS,
    ResourceKind,
    token,
)
from pulumi_snapshots.properties.catalogue import (
    AS_WRITTEN,
    Bytes,
    Choices,
    Duration,
    Property,
    Record,
    ResourceSchema,
    Rows,
    in_camel,
    record_in,
)
from pulumi_snapshots.run.settings import PACKAGE, Settings, variable
from pulumi_snapshots.snapshot.record import NAMED_BY, SNAPSHOT

NAMES: dict[type[Record], str] = {
    SnapshotInfo: "FoundSnapshot",
    DatabaseInfo: "Database",
    Request: "Attempt",
}
"""Types whose name is not that of their class."""
# all others are strings
TYPES = {
    int: "integer",
    Bytes: "number",
    Rows: "number",
    float: "number",
    bool: "boolean",
}
DURATION_DOC = "Written as `90s`, `45m`, `1h30m` or `7d`; `600` is seconds."
"""How a duration is written: a text, since most languages have no good type for one of two. The
plugin takes a number too.
"""

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
DEPRECATED = {
    "withUrl": (
        "As an output, the whole result is then a secret. `getDownloadUrl` returns the URL alone."
    )
}
"""What still works, and what to use in its place. An SDK marks a lookup's result as a whole if
anything in it is a secret.
"""


def schema() -> dict[str, Any]:
    """Return the schema, as the engine hands it on."""
    settings = {each.camel: _setting(each) for each in Settings.properties().values()}
    identity = Identity()
    names = identity.languages()
    return {
        "name": PACKAGE,
        "displayName": "Square Cloud snapshots",
        "version": PLUGIN_VERSION,
        **identity.in_schema(),
        "keywords": [
            "pulumi",
            "squarecloud",
            "snapshot",
            "backup",
            "category/database",
            "kind/native",
        ],
        "config": {"variables": settings},
        "provider": {
            "description": inspect.getdoc(Settings),
            "inputProperties": settings,
        },
        "resources": {
            **{
                token: _resource(kind.schema, kind)
                for token, kind in RESOURCE_KINDS.items()
            },
            token(GUARD.name): _resource(GUARD),
        },
        "functions": {token: _function(lookup) for token, lookup in FUNCTIONS.items()},
        "types": _types(),
        "meta": {"supportPack": True},  # each generated SDK is a package of its own
        "language": {
            "nodejs": {"respectSchemaVersion": True, **names["nodejs"]},
            "python": {"respectSchemaVersion": True, "pyproject": {"enabled": True}},
            "go": {
                "respectSchemaVersion": True,
                "generateResourceContainerTypes": True,
                **names["go"],
            },
            "csharp": {"respectSchemaVersion": True, **names["csharp"]},
            "java": names["java"],
        },
    }


def _setting(each: Property) -> dict[str, Any]:
    """A setting; the key has no default, which would put it into the state."""
    setting = _property(each)
    if not each.secret:
        setting["defaultInfo"] = {"environment": [variable(each.name)]}
    return setting


def _resource(
    made: ResourceSchema,
    kind: ResourceKind | None = None,
) -> dict[str, Any]:
    """A resource; a component unless a kind is given."""
    inputs = made.inputs.properties()
    taken = {each.camel: _input(each) for each in inputs.values()}
    needed = [each.camel for each in inputs.values() if each.required]
    description = with_examples(_in_all_languages(made.doc), made.name)
    more: dict[str, Any] = {}
    if kind is None:
        more["isComponent"] = True
    elif kind.refers:
        named = [in_camel(name) for name in NAMED_BY]
        needed = [name for name in needed if name not in named]
        taken = {REFERENCE: _reference(inputs, named), **taken}
    elif kind.is_listed:
        description += HOW_TO_IMPORT
        # A program that gets one by its id may say what the service does not know.
        more = {"listInputs": _object(LISTED), "stateInputs": _object(inputs)}
    shown = filter(made.seen, made.outputs.values())
    seen = _object(made.outputs, shown)
    return {
        "description": description,
        "properties": seen["properties"],
        "required": seen["required"],
        "inputProperties": taken,
        "requiredInputs": needed,
        **more,
    }


def _input(each: Property) -> dict[str, Any]:
    return _property(each) | (REPLACING if each.replaces else {})


def _reference(
    inputs: Mapping[str, Property],
    named: Iterable[str],
) -> dict[str, Any]:
    """The input that takes a Snapshot in place of the inputs that it names."""
    instead = " and ".join(f"`{name}`" for name in named)
    replaces = all(inputs[name].replaces for name in NAMED_BY)
    return {
        "$ref": f"#/resources/{token(SNAPSHOT.name)}",
        "description": f"A Snapshot of this program; or give {instead} instead.",
        **(REPLACING if replaces else {}),
    }


def _in_all_languages(described: str | None) -> str:
    """A description with the names of properties as all languages but Python spell them."""
    name = r"`[a-z]+(?:_[a-z]+)+`"
    return re.sub(name, lambda match: in_camel(match[0]), described or "")


def _function(lookup: Lookup[Any]) -> dict[str, Any]:
    description = _in_all_languages(inspect.getdoc(lookup.query))
    function: dict[str, Any] = {
        "description": with_examples(description, in_camel(lookup.function))
    }
    arguments = lookup.query.properties()
    if arguments:
        required = [each for each in arguments.values() if each.required]
        function["inputs"] = _object(arguments, required)
    function["outputs"] = _of_record(lookup.result)
    return function


def _types() -> dict[str, Any]:
    """Describe the records inside properties, and the texts whose values are known."""
    outputs = [*_every_output()]
    records = _records_of(outputs)
    types = {_name(one): _described(one) for one in records}
    queries = _each_of(lookup.query for lookup in FUNCTIONS.values())
    for each in (*outputs, *queries, *_each_of(records)):
        if each.choices:
            types[each.choices.name] = _of_choices(each.choices)
    return {token(name): types[name] for name in sorted(types)}


def _records_of(properties: Iterable[Property]) -> set[type[Record]]:
    """Return the records in properties, and those in their own properties."""
    records = {*filter(None, (record_in(each.type) for each in properties))}
    if not records:
        return records
    return records | _records_of(_each_of(records))


def _every_output() -> Iterator[Property]:
    schemas = [kind.schema for kind in RESOURCE_KINDS.values()]
    for made in (*schemas, GUARD):
        yield from made.outputs.values()
    yield from _each_of(lookup.result for lookup in FUNCTIONS.values())


def _each_of(records: Iterable[type[Record]]) -> Iterator[Property]:
    for record in records:
        yield from record.properties().values()


def _described(record: type[Record]) -> dict[str, Any]:
    return _of_record(record) | {
        "description": _in_all_languages(inspect.getdoc(record))
    }


def _of_choices(choices: Choices) -> dict[str, Any]:
    values = [
        {"value": value, "description": meaning}
        for value, meaning in choices.meanings.items()
    ]
    return {"type": "string", "enum": values}


def _of_record(record: type[Record]) -> dict[str, Any]:
    every = record.properties()
    required = [each for each in every.values() if record.always(each) or each.settled]
    return _object(every, required)


def _object(
    every: Mapping[str, Property], required: Iterable[Property] = ()
) -> dict[str, Any]:
    properties = {each.camel: _property(each) for each in every.values()}
    return {
        "type": "object",
        "properties": properties,
        "required": [each.camel for each in required],
    }


def _property(each: Property) -> dict[str, Any]:
    described = _type(each.type)
    if each.choices:
        described = {"$ref": f"#/types/{token(each.choices.name)}"}
        # Any text unless the property is checked for the known values: the service may have more.
        if each.reader != each.choices.read:
            described = {"type": "string", "oneOf": [{"type": "string"}, described]}
    doc = each.description.replace(AS_WRITTEN[Duration], DURATION_DOC)
    described["description"] = _in_all_languages(doc)
    if each.secret:
        described["secret"] = True
    if each.camel in DEPRECATED:
        described["deprecationMessage"] = DEPRECATED[each.camel]
    return described


def _type(kind: Any) -> dict[str, Any]:
    if get_origin(kind) in {list, tuple}:
        return {"type": "array", "items": _type(get_args(kind)[0])}
    record = record_in(kind)
    if record is not None:
        return {"$ref": f"#/types/{token(_name(record))}"}
    if kind is Any:
        return {"$ref": "pulumi.json#/Any"}
    return {"type": TYPES.get(kind, "string")}


def _name(record: type[Record]) -> str:
    return NAMES.get(record, record.__name__)


# Examples: parts of one program, which comes with the package in each language

HERE = Path(__file__).parent
PACKED_TOUR = HERE / "tour"  # where a wheel and the plugin's archive have the programs
TOUR_IN_REPOSITORY = HERE.parents[2] / "examples" / "tour"
LANGUAGES = ("typescript", "python", "go", "csharp", "java", "yaml")
"""The names that Pulumi's generators give the languages."""
MARK = re.compile(r"\s*(?:#|//) in: (.+)")
"""A line that says in which examples the lines below it are shown, up to the next such line."""
FENCE = re.compile(r"^```(\w+)\n(.*?)\n```$", re.MULTILINE | re.DOTALL)


def with_examples(description: str, name: str) -> str:
    """Describe a resource or function, with an example in each language that can use it.

    Args:
        description: The description.
        name: The resource or function.

    Returns:
        The description with examples, in Markdown.
    """
    blocks = [
        f"```{language}\n{example(language, name)}\n```" for language in LANGUAGES
    ]
    # Each generator keeps the blocks of its own language.
    parts = (
        description,
        "{{% examples %}}",
        "## Example Usage",
        "{{% example %}}",
        *blocks,
        "{{% /example %}}",
        "{{% /examples %}}",
    )
    return "\n\n".join(parts)


def example(language: str, name: str | None = None) -> str:
    """Return a program about one resource or function; about all of them without a name.

    Args:
        language: Such as `typescript`.
        name: The resource or function; None for all.
    """
    kept = []
    is_shown = True
    for line in _programs()[language].splitlines():
        mark = MARK.fullmatch(line)
        if mark:
            shown_in = set(mark[1].split())
            is_shown = bool({"all", name} & shown_in) if name else shown_in != {"none"}
        elif is_shown:
            kept.append(line)
    return "\n".join(kept)


@cache
def _programs() -> dict[str, str]:
    folder = PACKED_TOUR if PACKED_TOUR.is_dir() else TOUR_IN_REPOSITORY
    yaml = (folder / "Pulumi.yaml").read_text(encoding="utf-8")
    others = (folder / "languages.md").read_text(encoding="utf-8")
    return {**dict(FENCE.findall(others)), "yaml": yaml}
