"""What a resource of the list needs besides its line there: what is forgotten is named."""

import pkgutil
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

import pulumi_snapshots
from pulumi_snapshots.engine import schema_of
from pulumi_snapshots.late import late
from pulumi_snapshots.plugin.description.package import token
from pulumi_snapshots.properties.catalogue import ResourceSchema
from pulumi_snapshots.properties.state_check import problem_of_state
from pulumi_snapshots.resources import RESOURCES
from tests.support.example import Example
from tests.support.examples import EXAMPLES, example_of
from tests.support.property_tables import SCOPES, tables_in
from tests.test_error_pages import SECTIONS, WITHOUT_PAGE

PROJECT = Path(__file__).resolve().parent.parent
TOUR = yaml.safe_load((PROJECT / "examples" / "tour" / "Pulumi.yaml").read_text())


def missing(name: str, where: str) -> Iterator[str]:
    """What is not there of a resource that is defined there, and what is wrong with it."""
    room = where.partition(":")[0].partition(".")[0]
    schema: ResourceSchema = late(where)
    if schema.name != name:
        yield f"its definition is that of {schema.name}"
    if not (PROJECT / "pulumi_snapshots" / room / "__init__.py").exists():
        yield f"no pulumi_snapshots/{room}/__init__.py: `make generated` writes it"
    module = f"pulumi_snapshots.{room}.difference"
    here = import_module(module) if find_spec(module) is not None else None
    rules: Any = getattr(here, f"{name}Rules", None)
    if rules is None:
        yield f"no {name}Rules in pulumi_snapshots/{room}/difference.py"
    yield from missing_in_pages(name, room, schema)
    if token(name) not in {
        each["type"].replace(":", ":index:") for each in TOUR["resources"].values()
    }:
        yield "no example in examples/tour/Pulumi.yaml"
    example = example_of(where)
    if example is None:
        yield f"no EXAMPLE in tests/{room}/test_{room}.py"
        return
    yield from wrong_in_example(name, schema, example)
    if rules is not None and rules.kind and example.pending is None:
        yield "EXAMPLE has no `pending`, though its requests can be unfinished"


def missing_in_pages(name: str, room: str, schema: ResourceSchema) -> Iterator[str]:
    page = PROJECT / "docs" / f"{room}.md"
    tables = tables_in(page) if page.exists() else {}
    for table in (f"{name} inputs", f"{name} outputs"):
        if table not in tables:
            yield f"no table of {name}'s {table.split()[1]} in docs/{room}.md"
    for each in {*schema.scopes, *schema.scopes_for_more} - {*SCOPES}:
        yield f"its scope {each} is unknown"
    folder = [str(Path(pulumi_snapshots.__file__).parent / room)]
    for module in pkgutil.iter_modules(folder, f"pulumi_snapshots.{room}."):
        for kind in vars(import_module(module.name)).values():
            is_error = isinstance(kind, type) and issubclass(kind, Exception)
            if (
                is_error
                and kind.__module__ == module.name
                and not kind.__name__.startswith("_")
                and kind.__name__ not in {*SECTIONS, *WITHOUT_PAGE}
            ):
                yield f"no section of {kind.__name__} in docs/errors/"


def wrong_in_example(
    name: str, schema: ResourceSchema, example: Example
) -> Iterator[str]:
    for each in schema.inputs.problems(example.good):
        yield f"EXAMPLE: `good`: {each.property} {each.reason}"
    for what, state in (("state", example.state), ("pending", example.pending)):
        problem = None if state is None else problem_of_state(schema, state)
        if problem is not None:
            yield f"EXAMPLE: `{what}`: {problem.property} {problem.reason}"
    record: Any = schema.record.from_outputs(example.state)
    if record.id != example.id:
        yield f"EXAMPLE: `id` is not that of its `state`: {record.id}"
    if f"provider.{name}(" not in example.recorded:
        yield f"EXAMPLE: `recorded` makes no provider.{name}"


@pytest.mark.parametrize("name", RESOURCES)
def test_nothing_of_a_resource_is_forgotten(name: str) -> None:
    assert [*missing(name, RESOURCES[name])] == []


def test_what_is_forgotten_is_named() -> None:
    """Of a resource whose room has the definition of something else, and no more."""
    assert [*missing("Forgotten", "guard.book:GUARD")] == [
        "its definition is that of Guard",
        "no ForgottenRules in pulumi_snapshots/guard/difference.py",
        "no table of Forgotten's inputs in docs/guard.md",
        "no table of Forgotten's outputs in docs/guard.md",
        "no example in examples/tour/Pulumi.yaml",
        "no EXAMPLE in tests/guard/test_guard.py",
    ]


def test_a_scope_that_is_none_and_an_error_without_a_section_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(SECTIONS, "NotArchived")
    wrong = replace(schema_of("Archive"), scopes=("snapshots:reed",))
    assert [*missing_in_pages("Archive", "archive", wrong)] == [
        "its scope snapshots:reed is unknown",
        "no section of NotArchived in docs/errors/",
    ]


def test_a_wrong_example_is_named() -> None:
    right = EXAMPLES["Restore"]
    wrong = replace(
        right,
        good={},
        state={**right.state, "requested_at": "then"},
        pending={**right.state, "version_id": 7},
        id="x",
        recorded="",
    )
    named = [*wrong_in_example("Restore", schema_of("Restore"), wrong)]
    for number, text in enumerate(
        (
            "`good`: snapshot is required",
            "`good`: overwrite must be true",
            "`state`: requested_at must be a time",
            "`pending`: version_id must be a string",
            "`id` is not that of its `state`",
            "`recorded` makes no provider.Restore",
        )
    ):
        assert named[number].startswith(f"EXAMPLE: {text}"), named
