"""One description: whoever reads a schema, a class, a reference table or an error reads the same names."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pulumi_snapshots
from pulumi_snapshots import plugin
from pulumi_snapshots.attempt.post import Post
from pulumi_snapshots.lookup.results import DatabaseInfo, SnapshotInfo
from pulumi_snapshots.plugin import description
from pulumi_snapshots.plugin.functions import FUNCTIONS
from pulumi_snapshots.plugin.kinds import KINDS
from pulumi_snapshots.plugin.schema import schema
from pulumi_snapshots.run.calls import Calls
from pulumi_snapshots.run.settings import SOURCES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pulumi_snapshots.plugin.functions import Function
    from pulumi_snapshots.plugin.kinds import Kind

PROJECT = Path(__file__).parents[2]
OF_PROGRAMS = {"self", "resource_name", "opts", "snapshot"}
"""Parameters of the classes that are no inputs: a `snapshot` becomes some."""
KINDS_BY_NAME = {kind.outputs.__name__: kind for kind in KINDS.values()}
each_kind = pytest.mark.parametrize(("name", "kind"), KINDS_BY_NAME.items(), ids=KINDS_BY_NAME)


@each_kind
def test_inputs_are_those_of_the_operations_and_of_both_classes(name: str, kind: Kind) -> None:
    described = set(kind.inputs.model_fields)
    assert described == set(kind.calls.inputs)
    for package in (pulumi_snapshots, plugin):
        parameters = set(inspect.signature(getattr(package, name).__init__).parameters) - OF_PROGRAMS
        assert parameters <= described
        # The others come with the snapshot.
        assert described - parameters <= {"name", "runtime", "size", "created_at"}


@each_kind
def test_outputs_are_those_of_both_classes(name: str, kind: Kind) -> None:
    for package in (pulumi_snapshots, plugin):
        declared = {each for each in getattr(package, name).__annotations__ if not each.startswith("_")}
        assert declared - set(kind.calls.inputs) <= set(kind.outputs.model_fields) - set(kind.calls.inputs) | {"size"}
        assert set(kind.outputs.model_fields) <= declared | set(kind.calls.inputs)


@each_kind
def test_each_input_is_checked_as_what_it_is_described_as(name: str, kind: Kind) -> None:
    """A value that no input may have is told on its property, whichever it is."""
    checked = {problem.property for input_ in kind.calls.inputs for problem in kind.calls.problems({input_: object()})}
    assert checked >= set(kind.calls.inputs), name


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


def test_settings_are_those_of_the_operations_and_of_the_provider_class() -> None:
    wire = {field.alias for field in description.Settings.model_fields.values()}
    assert wire == {key.partition(":")[2] for key, _, _ in SOURCES.values()}
    parameters = set(inspect.signature(plugin.Provider.__init__).parameters) - OF_PROGRAMS
    assert parameters == set(description.Settings.model_fields)


def test_functions_are_those_of_the_top_level() -> None:
    for function in FUNCTIONS.values():
        name = function.lookup.function
        for package in (pulumi_snapshots, plugin):
            for twin in (name, f"{name}_output"):
                parameters = set(inspect.signature(getattr(package, twin)).parameters) - {"opts"}
                assert parameters == set(function.query.model_fields), twin
    snapshot = {each.name.removeprefix("_") for each in dataclasses.fields(SnapshotInfo)} | {"id"}
    assert set(description.FoundSnapshot.model_fields) == snapshot - {"requested_at", "attempt"}
    assert set(description.Database.model_fields) == {each.name for each in dataclasses.fields(DatabaseInfo)}
    assert set(description.Attempt.model_fields) == {each.name for each in dataclasses.fields(Post)}


def test_both_ways_offer_the_same_names() -> None:
    assert set(plugin.__all__) - {"Provider"} == set(pulumi_snapshots.__all__)


def test_every_kind_of_call_has_a_resource() -> None:
    assert {type(kind.calls) for kind in KINDS.values()} == set(Calls.__subclasses__())


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


def test_the_page_tells_every_resource_function_and_setting() -> None:
    page = (PROJECT / "docs" / "plugin.md").read_text()
    for token in (*KINDS, *FUNCTIONS):
        assert f"`{token.rpartition(':')[2]}`" in page, token
    for name in (*description.Settings.model_fields,):
        assert f"`{description.Settings.model_fields[name].alias}`" in page, name


@each_kind
def test_the_pages_table_has_exactly_the_properties(name: str, kind: Kind) -> None:
    inputs, outputs = _row(name)
    assert sorted(inputs) == sorted(str(field.alias) for field in kind.inputs.model_fields.values())
    described = [
        field.alias for each, field in kind.outputs.model_fields.items() if each not in kind.inputs.model_fields
    ]
    assert sorted(outputs) == sorted(map(str, described))


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=lambda function: function.lookup.function)
def test_the_pages_table_has_exactly_the_arguments(function: Function) -> None:
    arguments, _ = _row(function.token.rpartition(":")[2])
    assert arguments == [field.alias for field in function.query.model_fields.values()]


def _row(name: str) -> tuple[list[str], list[str]]:
    """The names in the second and third column of the row that begins with this one."""
    page = (PROJECT / "docs" / "plugin.md").read_text()
    (row,) = re.findall(rf"^\| `{name}` \| (.*) \| (.*) \|$", page, re.MULTILINE)
    return re.findall(r"`(\w+)`", row[0]), re.findall(r"`(\w+)`", row[1])
