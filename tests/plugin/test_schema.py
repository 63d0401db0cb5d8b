"""The schema: what a generated SDK offers, which of it is a secret, and that Pulumi's tools can read it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.plugin.schema import schema

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_what_is_secret_is_marked_as_such() -> None:
    found = set(_secrets(schema()))
    assert found == {
        *(f"resources.squarecloud:index:{kind}.inputProperties.downloadUrl" for kind in ("Archive",)),
        "resources.squarecloud:index:Snapshot.properties.downloadUrl",
        "config.variables.apiKey",
        "provider.inputProperties.apiKey",
    }


def _secrets(node: Any, path: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        if node.get("secret") is True:
            yield path
        for name, child in node.items():
            yield from _secrets(child, f"{path}.{name}".lstrip("."))


def test_the_key_has_no_default_that_a_state_would_store() -> None:
    settings = schema()["provider"]["inputProperties"]
    assert "defaultInfo" not in settings["apiKey"]
    assert all("defaultInfo" in setting for name, setting in settings.items() if name != "apiKey")


# The metaschema's rules, as Pulumi publishes them (pkg/codegen/schema/pulumi.json)

TYPES = {"string", "integer", "number", "boolean", "array", "object"}
TOKEN = re.compile(r"[a-z][\w-]*:[\w./-]*:[A-Za-z]\w*")


def test_the_schema_keeps_the_metaschemas_rules() -> None:
    made = schema()
    assert re.fullmatch(r"[a-zA-Z][-a-zA-Z0-9_]*", made["name"])
    for part in ("resources", "functions", "types"):
        assert all(TOKEN.fullmatch(token) for token in made[part])
    for token, each in made["types"].items():
        assert each["type"] == "object", token
        assert set(each["required"]) <= set(each["properties"])
    for each in made["resources"].values():
        assert set(each["required"]) <= set(each["properties"])
        assert set(each["requiredInputs"]) <= set(each["inputProperties"])
        assert not {"id", "urn"} & set(each["properties"])
    for node in _properties(made):
        kinds = [kind for kind in ("type", "$ref", "oneOf") if kind in node]
        assert len(kinds) == 1, node
        assert node.get("type", "string") in TYPES
        if node.get("$ref", "").startswith("#/types/"):
            assert node["$ref"].removeprefix("#/types/") in made["types"]
        assert "type" not in node or node["type"] != "array" or "items" in node


def _properties(node: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(node, dict):
        return
    for name, child in node.items():
        if name in {"properties", "inputProperties", "variables"} and isinstance(child, dict):
            yield from child.values()
        yield from _properties(child)
