"""A generated SDK of an earlier version works with the plugin of today; and each released version has left what tests that."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pulumi_snapshots.plugin.description.identity import PLUGIN_VERSION
from pulumi_snapshots.plugin.description.package import FUNCTIONS, RESOURCE_KINDS
from pulumi_snapshots.plugin.description.schema import schema
from pulumi_snapshots.properties.catalogue import Duration
from tests.support.earlier import VERSIONS, read

INPUTS = [kind.schema.inputs for kind in RESOURCE_KINDS.values()] + [
    each.query for each in FUNCTIONS.values()
]
NUMBERS_TOO = {
    each.camel
    for record in INPUTS
    for each in record.properties().values()
    if each.type == Duration
}
"""Inputs that are texts in the schema, and of which the plugin takes a number of seconds too."""
CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"


# The SDK


def test_an_sdk_of_an_earlier_version_works_with_this_plugin() -> None:
    """Of each that was released; until the first is, there is none."""
    released = [each for each in VERSIONS if each != "unreleased"]
    problems = {
        each: list(broken(read(each, "schema.json"), schema())) for each in released
    }
    assert not any(problems.values()), problems


def broken(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """What a program with the old SDK sends and the new plugin refuses, or reads and does not get."""
    found = objects(new)
    for path, (was, needed) in objects(old).items():
        if path not in found:
            yield f"{path}: is gone"
            continue
        now, always = found[path]
        kept = {
            name: (forms(was[name], old), forms(now[name], new))
            for name in was.keys() & now
        }
        if path.endswith(("inputs", "provider")):
            gone = was.keys() - now
            problems = problems_of_sent(kept, always - needed)
        else:
            gone = needed & was.keys() - now
            problems = problems_of_read(kept, needed - always)
        yield from (f"{path}.{name}: is gone" for name in sorted(gone))
        yield from (f"{path}.{problem}" for problem in problems)


Forms = dict[str, tuple[set[str], set[str]]]
"""The types of a property before and now, by its name."""


def problems_of_sent(kept: Forms, new_and_needed: set[str]) -> Iterator[str]:
    """Of inputs: what an older program does not give, or gives as the plugin does not take it."""
    for name in sorted(new_and_needed):
        yield f"{name}: must be given now"
    for name, (before, now) in kept.items():
        also_taken = {"number"} if name in NUMBERS_TOO else set()
        if not before - also_taken <= now:
            yield f"{name}: takes another type"


def problems_of_read(kept: Forms, perhaps_missing: set[str]) -> Iterator[str]:
    """Of outputs: what an older program cannot read, or relies on in vain."""
    for name, (before, now) in kept.items():
        if not now <= before:
            yield f"{name}: is of another type"
        if name in perhaps_missing:
            yield f"{name}: may be missing now"


def objects(schema: dict[str, Any]) -> dict[str, tuple[dict[str, Any], set[str]]]:
    """The properties of all that programs send and read, and which are required."""
    found = {"provider": (schema["provider"]["inputProperties"], set[str]())}
    for token, each in schema["resources"].items():
        found[f"{token}.inputs"] = (
            each["inputProperties"],
            set(each.get("requiredInputs", [])),
        )
        found[token] = each["properties"], set(each.get("required", []))
    for token, each in schema["functions"].items():
        for part in ("inputs", "outputs"):
            of = each.get(part, {"properties": {}})
            found[f"{token}.{part}"] = of["properties"], set(of.get("required", []))
    sent = json.dumps(
        [
            properties
            for path, (properties, _) in found.items()
            if path.endswith(("inputs", "provider"))
        ]
    )
    for token, each in schema["types"].items():
        if each["type"] == "object":
            found[token] = each["properties"], set(each.get("required", []))
            if f'"#/types/{token}"' in sent:
                found[f"{token}.inputs"] = found[token]
    return found


def forms(node: dict[str, Any], whole: dict[str, Any]) -> set[str]:
    """The forms on the wire that a value may have: an enum is a text, an object that of its properties."""
    if "oneOf" in node:
        return set().union(*(forms(each, whole) for each in node["oneOf"]))
    if node.get("type") == "array":
        return {f"list of {form}" for form in forms(node["items"], whole)}
    reference = node.get("$ref", "")
    if reference.endswith("#/Any"):
        return {"string", "number", "boolean", "object", "any"}
    known = (
        whole["types"][reference.removeprefix("#/types/")]
        if reference.startswith("#/types/")
        else node
    )
    kind = known.get("type", reference)
    return {"number" if kind == "integer" else kind}


# The records


def unrecorded(
    changelog: str, version: str, recorded: Mapping[str, set[str]]
) -> list[str]:
    """What `make states` has not recorded of the versions that the changelog calls released."""
    released = re.findall(r"^## \[(\d[^\]]*)\]", changelog, re.MULTILINE)
    lacking = (
        set(RESOURCE_KINDS) - recorded.get(version, set())
        if version in released
        else set()
    )
    return [*(each for each in released if each not in recorded), *sorted(lacking)]


def test_each_released_version_has_left_its_states() -> None:
    recorded = {
        each: {one["urn"].split("::")[2] for one in read(each, "plugin.json")}
        for each in VERSIONS
    }
    assert unrecorded(CHANGELOG.read_text(), PLUGIN_VERSION, recorded) == [], (
        "run `make states` before a release"
    )
