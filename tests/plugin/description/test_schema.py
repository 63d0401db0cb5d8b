"""The schema: what a generated SDK offers, which of it is a secret, and that Pulumi's tools can read it."""

import re
from collections.abc import Iterator
from typing import Any

from pulumi_snapshots.plugin.description.schema import schema


def test_what_is_secret_is_marked_as_such() -> None:
    found = set(_secrets(schema()))
    assert found == {
        "resources.squarecloud:index:Archive.inputProperties.downloadUrl",
        "resources.squarecloud:index:Drill.inputProperties.connection",
        "resources.squarecloud:index:Drill.inputProperties.password",
        "resources.squarecloud:index:Drill.inputProperties.sourceConnection",
        "resources.squarecloud:index:Snapshot.properties.downloadUrl",
        "types.squarecloud:index:FoundSnapshot.properties.downloadUrl",
        "functions.squarecloud:index:getDownloadUrl.outputs.properties.downloadUrl",
        "config.variables.apiKey",
        "provider.inputProperties.apiKey",
        "config.variables.notify",
        "provider.inputProperties.notify",
    }


def test_who_asks_for_a_url_learns_what_brings_it_alone() -> None:
    """Pulumi's SDKs make one secret of a lookup's whole result."""
    arguments = schema()["functions"]["squarecloud:index:getLatestSnapshot"]["inputs"][
        "properties"
    ]
    assert (
        "`getDownloadUrl` returns the URL alone"
        in arguments["withUrl"]["deprecationMessage"]
    )


def test_bytes_are_no_integers_which_end_at_2_gib_in_some_languages() -> None:
    sizes = [each for name, each in _properties(schema()) if "size" in name.lower()]
    assert len(sizes) > 3
    assert {each["type"] for each in sizes} == {"number"}


def test_what_a_snapshot_gives_fits_where_it_is_taken() -> None:
    """An output that a program always sees is required, so that no language makes its type optional."""
    resources = {
        token.rpartition(":")[2]: each for token, each in schema()["resources"].items()
    }
    assert {"databaseId", "versionId"} <= set(resources["Snapshot"]["required"])
    assert "restoredAt" in resources["Restore"]["required"]
    assert "size" not in resources["Snapshot"]["required"], "the service may not say it"
    for name in ("Archive", "Restore"):
        assert (
            resources[name]["inputProperties"]["snapshot"]["$ref"]
            == "#/resources/squarecloud:index:Snapshot"
        )
        assert not {"snapshot", "databaseId", "versionId"} & set(
            resources[name]["requiredInputs"]
        )
    assert "snapshot" not in resources["Snapshot"]["inputProperties"]


def _secrets(node: Any, path: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        if node.get("secret") is True:
            yield path
        for name, child in node.items():
            yield from _secrets(child, f"{path}.{name}".lstrip("."))


def test_no_secret_has_a_default_that_a_state_would_store() -> None:
    settings = schema()["provider"]["inputProperties"]
    without = {name for name, each in settings.items() if "defaultInfo" not in each}
    assert without == {"apiKey", "notify"}


def test_an_editor_offers_the_known_origins_and_engines() -> None:
    """Where the provider refuses others they are a type of their own; else any text fits, since the service may have more."""
    made = schema()
    assert [
        one["value"] for one in made["types"]["squarecloud:index:Origin"]["enum"]
    ] == [
        "manual",
        "automatic",
    ]
    engines = made["types"]["squarecloud:index:DatabaseEngine"]["enum"]
    assert [one["value"] for one in engines] == ["postgres", "mongo", "mysql", "redis"]
    origin = {"$ref": "#/types/squarecloud:index:Origin"}
    for name in ("getSnapshots", "getLatestSnapshot"):
        asked = made["functions"][f"squarecloud:index:{name}"]["inputs"]["properties"][
            "origin"
        ]
        assert asked.items() >= origin.items()
        assert "oneOf" not in asked
    either = {"type": "string", "oneOf": [{"type": "string"}, origin]}
    found = made["types"]["squarecloud:index:FoundSnapshot"]["properties"]
    of_snapshot, of_restore = (
        made["resources"][f"squarecloud:index:{name}"]
        for name in ("Snapshot", "Restore")
    )
    for properties in (found, of_snapshot["properties"]):
        assert properties["origin"].items() >= either.items()
        assert properties["runtime"] == found["runtime"]
        assert (
            properties["runtime"]["oneOf"]
            == of_restore["inputProperties"]["runtime"]["oneOf"]
        )


def test_no_description_has_a_name_that_only_python_has() -> None:
    texts = [text.partition("{{% examples")[0] for text in _descriptions(schema())]
    assert len(texts) > 100
    assert [text for text in texts if re.search(r"\b[a-z]+_[a-z]|\bNone\b", text)] == []


def _descriptions(node: Any) -> Iterator[str]:
    for child in (
        node.values()
        if isinstance(node, dict)
        else node
        if isinstance(node, list)
        else ()
    ):
        yield from _descriptions(child)
    if isinstance(node, dict) and isinstance(node.get("description"), str):
        yield node["description"]


def test_a_duration_is_a_text_in_every_language() -> None:
    """Of two types, Go makes `pulumi.Any`, and C# a union that nobody can write down."""
    made = schema()
    assert [
        node
        for _, node in _properties(made)
        if {"type": "number"} in node.get("oneOf", [])
    ] == []
    timeout = made["resources"]["squarecloud:index:Snapshot"]["inputProperties"][
        "timeout"
    ]
    assert timeout["type"] == "string"
    assert timeout["description"].endswith(
        "45m unless given. Written as `90s`, `45m`, `1h30m` or `7d`; `600` is seconds."
    )
    assert (
        "2m unless given"
        in made["config"]["variables"]["firstPollAfter"]["description"]
    )


def test_what_can_be_imported_says_how() -> None:
    told = {
        token: each["description"].partition("## Import")[2]
        for token, each in schema()["resources"].items()
    }
    command = "$ pulumi import squarecloud:index:Snapshot before-release DATABASE_ID/VERSION_ID\n"
    assert command in told.pop("squarecloud:index:Snapshot")
    assert set(told.values()) == {""}
    gets = {
        name: each["stateInputs"]
        for name, each in schema()["resources"].items()
        if "stateInputs" in each
    }
    assert set(gets) == {"squarecloud:index:Snapshot"}
    assert {"databaseId", "triggers"} <= set(
        gets["squarecloud:index:Snapshot"]["properties"]
    )


def _properties(node: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, child in node.items() if isinstance(node, dict) else ():
        if name in {"properties", "inputProperties", "variables"} and isinstance(
            child, dict
        ):
            yield from child.items()
        yield from _properties(child)
