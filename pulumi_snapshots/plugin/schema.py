"""The package's schema, made from the description: what Pulumi's generators and its YAML language read."""

from __future__ import annotations

from importlib.metadata import version
from inspect import getdoc
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.plugin.description import Settings
from pulumi_snapshots.plugin.functions import FUNCTIONS
from pulumi_snapshots.plugin.kinds import KINDS, PACKAGE
from pulumi_snapshots.run.settings import SOURCES

if TYPE_CHECKING:
    from pydantic import BaseModel

    from pulumi_snapshots.plugin.functions import Function
    from pulumi_snapshots.plugin.kinds import Kind

__all__ = ["VERSION", "schema"]

VERSION = version("pulumi-snapshots")
ANYTHING = {"$ref": "pulumi.json#/Any"}
KEY = "apiKey"


def schema() -> dict[str, Any]:
    """The schema, as the engine hands it on."""
    types: dict[str, Any] = {}
    settings = _properties(Settings, types, secrets={"api_key"})
    for name, (_, variable, _) in SOURCES.items():
        wire = Settings.model_fields[name].alias or name
        if wire != KEY:  # a default would put the key into the state
            settings[wire]["defaultInfo"] = {"environment": [variable]}
    return {
        "name": PACKAGE,
        "displayName": "Square Cloud snapshots",
        "version": VERSION,
        "description": "Database snapshots of Square Cloud: take one, wait for exactly it, hand out its pinned download URL.",
        "keywords": ["pulumi", "squarecloud", "snapshot", "backup", "category/database"],
        "license": "Apache-2.0",
        "publisher": "pulumi-snapshots",
        "config": {"variables": settings},
        "provider": {
            "description": getdoc(Settings),
            "inputProperties": settings,
        },
        "resources": {token: _resource(kind, types) for token, kind in KINDS.items()},
        "functions": {token: _function(function, types) for token, function in FUNCTIONS.items()},
        "types": types,
        "meta": {"supportPack": True},  # each generated SDK is a package of its own
        "language": {
            "nodejs": {"respectSchemaVersion": True},
            "python": {"respectSchemaVersion": True, "pyproject": {"enabled": True}},
            "go": {"respectSchemaVersion": True, "generateResourceContainerTypes": True},
        },
    }


def _resource(kind: Kind, types: dict[str, Any]) -> dict[str, Any]:
    secrets = kind.calls.secrets
    return {
        "description": getdoc(kind.outputs),
        "properties": _properties(kind.outputs, types, secrets=secrets),
        "required": _required(kind.outputs),
        "inputProperties": _properties(kind.inputs, types, secrets=secrets),
        "requiredInputs": _required(kind.inputs),
    }


def _function(function: Function, types: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": getdoc(function.query),
        "inputs": _object(function.query, types),
        "outputs": _object(function.result, types),
    }


def _object(model: type[BaseModel], types: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": _properties(model, types), "required": _required(model)}


def _required(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items() if field.is_required()]


def _properties(
    model: type[BaseModel], types: dict[str, Any], *, secrets: set[str] | frozenset[str] = frozenset({"download_url"})
) -> dict[str, Any]:
    """The properties of a model; models that they refer to are added to the types."""
    found = model.model_json_schema(by_alias=True)
    for name, nested in found.get("$defs", {}).items():
        token = f"{PACKAGE}:index:{name}"
        types[token] = {
            "type": "object",
            "description": nested.get("description", ""),
            "properties": {wire: _property(each) for wire, each in nested["properties"].items()},
            "required": nested.get("required", []),
        }
    properties = {wire: _property(each) for wire, each in found.get("properties", {}).items()}
    for name, field in model.model_fields.items():
        if name in secrets:
            properties[field.alias or name]["secret"] = True
    return properties


def _property(described: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema's property as Pulumi's schema has it: what may be null is optional there, and no type."""
    found = _type(described)
    if "description" in described:
        found["description"] = described["description"]
    return found


def _type(described: dict[str, Any]) -> dict[str, Any]:
    choices = [each for each in described.get("anyOf", []) if each.get("type") != "null"]
    if len(choices) == 1:
        return _type(choices[0])
    if choices:
        return {"oneOf": [_type(each) for each in choices]}
    if "$ref" in described:
        return {"$ref": f"#/types/{PACKAGE}:index:{described['$ref'].rpartition('/')[2]}"}
    if described.get("type") == "array":
        return {"type": "array", "items": _type(described["items"])}
    return {"type": described["type"]} if "type" in described else dict(ANYTHING)
