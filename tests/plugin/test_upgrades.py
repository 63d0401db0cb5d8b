"""A generated SDK of an earlier version works with the plugin of today; and each released version has left what tests that."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pulumi_snapshots.plugin.description.identity import VERSION
from pulumi_snapshots.plugin.description.package import FUNCTIONS, KINDS
from pulumi_snapshots.plugin.description.schema import schema
from pulumi_snapshots.properties.catalogue import Duration, in_camel
from pulumi_snapshots.run.settings import FORMER_NAMES
from tests.support.earlier import VERSIONS, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

INPUTS = [kind.schema.inputs for kind in KINDS.values()] + [each.lookup.query for each in FUNCTIONS.values()]
NOTHING: dict[str, Any] = {"properties": {}}
NUMBERS_TOO = {each.camel for record in INPUTS for each in record.properties().values() if each.type == Duration}
"""Inputs that are texts in the schema, and of which the plugin takes a number of seconds too."""
RENAMED = {in_camel(former) for names in FORMER_NAMES.values() for former in names}
"""Settings that the plugin takes by their former names too."""
CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"


# The SDK


@pytest.mark.parametrize("version", [each for each in VERSIONS if each != "unreleased"])
def test_an_sdk_of_an_earlier_version_works_with_this_plugin(version: str) -> None:
    assert list(broken(read(version, "schema.json"), schema())) == []


def broken(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """What a program with the old SDK sends and the new plugin refuses, or reads and does not get."""
    for token, was in old["resources"].items():
        if (now := new["resources"].get(token)) is None:
            yield f"{token}: is gone"
            continue
        yield from _taken(token, was["inputProperties"], now["inputProperties"], old, new)
        yield from (f"{token}.{each}: must be given now" for each in _added(was, now, "requiredInputs"))
        yield from _given(token, was, now, old, new)
    for token, was in old["functions"].items():
        if (now := new["functions"].get(token)) is None:
            yield f"{token}: is gone"
            continue
        before, after = was.get("inputs", NOTHING), now.get("inputs", NOTHING)
        yield from _taken(token, before["properties"], after["properties"], old, new)
        yield from (f"{token}.{each}: must be given now" for each in _added(before, after, "required"))
        yield from _given(token, was["outputs"], now["outputs"], old, new)
    sent = set(_types(_inputs(old), old))
    for token, was in old["types"].items():
        if was["type"] == "object" and (now := new["types"].get(token)) is not None:
            yield from _given(token, was, now, old, new)
            if f"#/types/{token}" in sent:
                yield from _taken(token, was["properties"], now["properties"], old, new)
    settings = {name: each for name, each in old["provider"]["inputProperties"].items() if name not in RENAMED}
    yield from _taken("provider", settings, new["provider"]["inputProperties"], old, new)


def _inputs(schema: dict[str, Any]) -> list[Any]:
    """All that a program may send."""
    resources = [each["inputProperties"] for each in schema["resources"].values()]
    return [
        *resources,
        *(each["inputs"] for each in schema["functions"].values()),
        schema["provider"]["inputProperties"],
    ]


def _types(node: Any, schema: dict[str, Any]) -> Iterator[str]:
    """References to the types of which a part of a schema consists."""
    for name, each in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        if name == "$ref" and each.startswith("#/types/"):
            yield each
            yield from _types(schema["types"][each.removeprefix("#/types/")], schema)
        else:
            yield from _types(each, schema)


def _added(was: dict[str, Any], now: dict[str, Any], required: str) -> list[str]:
    return sorted(set(now.get(required, [])) - set(was.get(required, [])))


def _taken(
    token: str, was: dict[str, Any], now: dict[str, Any], old: dict[str, Any], new: dict[str, Any]
) -> Iterator[str]:
    """What the new plugin does not take of what the old SDK sends."""
    for name, each in was.items():
        if name not in now:
            yield f"{token}.{name}: is no input any more"
        elif not _forms(each, old) - ({"number"} if name in NUMBERS_TOO else set()) <= _forms(now[name], new):
            yield f"{token}.{name}: takes another type"


def _given(
    token: str, was: dict[str, Any], now: dict[str, Any], old: dict[str, Any], new: dict[str, Any]
) -> Iterator[str]:
    """What the old SDK reads and the new plugin does not send."""
    always = set(now.get("required", []))
    for name, each in was["properties"].items():
        if name not in now["properties"]:
            if name in was.get("required", []):
                yield f"{token}.{name}: is no output any more"
        elif not _forms(now["properties"][name], new) <= _forms(each, old):
            yield f"{token}.{name}: is of another type"
        elif name in was.get("required", []) and name not in always:
            yield f"{token}.{name}: may be missing now"


def _forms(node: dict[str, Any], whole: dict[str, Any]) -> set[str]:
    """The forms on the wire that a value may have: an enum is a text, an object that of its properties."""
    if "oneOf" in node:
        return set().union(*(_forms(each, whole) for each in node["oneOf"]))
    if node.get("type") == "array":
        return {f"list of {form}" for form in _forms(node["items"], whole)}
    reference = node.get("$ref", "")
    if not reference.startswith("#/types/"):
        any_ = {"string", "number", "boolean", "object", "any"}
        return any_ if reference.endswith("#/Any") else {_number(node.get("type", reference))}
    known = whole["types"][reference.removeprefix("#/types/")]
    return {_number(known["type"])}


def _number(kind: str) -> str:
    return "number" if kind == "integer" else kind


SMALL: dict[str, Any] = {
    "resources": {
        "a:index:B": {
            "inputProperties": {"in": {"type": "string"}, "list": {"type": "array", "items": {"type": "string"}}},
            "requiredInputs": ["in"],
            "properties": {"out": {"type": "string"}},
            "required": ["out"],
        }
    },
    "functions": {},
    "provider": {"inputProperties": {"key": {"type": "string"}}},
    "types": {
        "a:index:E": {"type": "string", "enum": [{"value": "x"}]},
        "a:index:O": {"type": "object", "properties": {"p": {"type": "string"}}, "required": ["p"]},
    },
}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({}, None),
        ({"inputProperties": {"in": {"$ref": "#/types/a:index:E"}, "list": SMALL["resources"]["a:index:B"]["inputProperties"]["list"], "new": {"type": "string"}}}, None),
        ({"inputProperties": {"in": {"type": "string"}}}, "a:index:B.list: is no input any more"),
        ({"inputProperties": {"in": {"type": "number"}, "list": {"$ref": "pulumi.json#/Any"}}}, "a:index:B.in: takes another type"),
        ({"requiredInputs": ["in", "new"]}, "a:index:B.new: must be given now"),
        ({"properties": {}}, "a:index:B.out: is no output any more"),
        ({"properties": {"out": {"type": "boolean"}}}, "a:index:B.out: is of another type"),
        ({"required": []}, "a:index:B.out: may be missing now"),
    ],
)  # fmt: skip
def test_a_change_that_breaks_an_sdk_is_found(change: dict[str, Any], complaint: str | None) -> None:
    new = {**SMALL, "resources": {"a:index:B": {**SMALL["resources"]["a:index:B"], **change}}}
    found = list(broken(SMALL, new))
    assert (complaint in found) if complaint else found == []


# The records


def unrecorded(changelog: str, version: str, recorded: Mapping[str, set[str]]) -> list[str]:
    """What `make states` has not recorded of the versions that the changelog calls released.

    Args:
        changelog: its text.
        version: that of this code, whose record must have each kind of resource.
        recorded: the kinds of resources in the record of each version.
    """
    released = re.findall(r"^## \[(\d[^\]]*)\]", changelog, re.MULTILINE)
    lacking = set(KINDS) - recorded.get(version, set()) if version in released else set()
    return [*(each for each in released if each not in recorded), *sorted(lacking)]


def test_each_released_version_has_left_its_states() -> None:
    recorded = {each: {one["urn"].split("::")[2] for one in read(each, "plugin.json")} for each in VERSIONS}
    assert "0.1.0" in recorded
    assert unrecorded(CHANGELOG.read_text(), VERSION, recorded) == [], "run `make states` before a release"


def test_a_release_without_its_states_is_found() -> None:
    changelog = "## [Unreleased]\n\n## [2.0.0] - 2030-01-01\n\n## [1.0.0]\n"
    whole = set(KINDS)
    assert unrecorded(changelog, "2.0.0", {"1.0.0": set(), "2.0.0": whole}) == []
    assert unrecorded(changelog, "3.0.0", {"1.0.0": set(), "2.0.0": set()}) == []
    assert unrecorded(changelog, "2.0.0", {"1.0.0": whole}) == ["2.0.0", *sorted(whole)]
    assert unrecorded(changelog, "2.0.0", {"1.0.0": whole, "2.0.0": whole - {"squarecloud:index:Drill"}}) == [
        "squarecloud:index:Drill"
    ]
