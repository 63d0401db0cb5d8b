"""The schema's examples: one in each language for each resource and function, of programs that are compiled or previewed."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml  # type: ignore[import-untyped]

from pulumi_snapshots.plugin.description.examples import IN_REPOSITORY, PROGRAMS, example
from pulumi_snapshots.plugin.description.schema import schema
from pulumi_snapshots.properties.catalogue import in_camel
from tests.support import language_programs
from tools import sdks
from tools.engine import Closed

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = schema()
EACH = {token.rpartition(":")[2]: made for part in ("resources", "functions") for token, made in SCHEMA[part].items()}
INPUTS = {
    name
    for made in EACH.values()
    for name in made.get("inputProperties") or made.get("inputs", {}).get("properties", {})
}
FENCE = re.compile(r"^```(\w+)\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
WRITTEN = {
    "typescript": r"\b(\w+)(?=[:,] )|\b(\w+)(?=,$)",
    "python": r"\b(\w+)=",
    "go": r"\b(\w+): ",
    "csharp": r"\b([A-Z]\w+) = ",
    "java": r"\.(\w+)\((?=[^)])",
}
"""How each language gives an input its value."""


def given(language: str, text: str) -> set[str]:
    """The inputs that an example gives, by their names in the schema."""
    found = {"".join(names) for names in re.findall(WRITTEN[language], text)}
    return {name[0].lower() + name[1:] for name in map(in_camel, found) if name}


@pytest.mark.parametrize("name", EACH)
def test_each_resource_and_function_has_an_example_in_each_language(name: str) -> None:
    description = EACH[name]["description"]
    assert description.index("{{% examples %}}") > 0
    blocks = dict(FENCE.findall(description.partition("## Import")[0]))
    assert list(blocks) == list(PROGRAMS)
    for language, text in blocks.items():
        program = (IN_REPOSITORY / PROGRAMS[language]).read_text()
        assert set(text.splitlines()) <= set(program.splitlines()) | {""}, "it is of the program that is compiled"
        called = name if language in {"typescript", "yaml", "java"} or name[0].isupper() else "|".join(spelled(name))
        assert re.search(rf"\b({called})(?:Output|_output|Args)?\b", text), (language, text)
        assert " in: " not in text


def spelled(name: str) -> tuple[str, str]:
    """A function's name in Go and C#, and in Python."""
    return name[0].upper() + name[1:], re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


@pytest.mark.parametrize("language", WRITTEN)
@pytest.mark.parametrize("name", EACH)
def test_all_languages_give_the_same_inputs(name: str, language: str) -> None:
    """What is not compiled here is held to what is."""
    shown = given(language, example(language, name)) & INPUTS
    assert shown >= set(EACH[name].get("requiredInputs") or EACH[name].get("inputs", {}).get("required", []))
    assert shown == set(_of_yaml(name)) & INPUTS  # what is guarded is a resource of Pulumi's own


def _of_yaml(name: str) -> Iterator[str]:
    document: dict[str, Any] = yaml.safe_load(example("yaml", name))
    for each in document.get("resources", {}).values():
        yield from each["properties"]
    for each in document.get("variables", {}).values():
        yield from each["fn::invoke"]["arguments"]


def test_the_compiled_programs_are_those_of_the_examples() -> None:
    try:
        sdks.node_modules(os.environ)
    except Closed as reason:
        pytest.skip(f"no example is compiled: {reason}")
    language_programs.typescript(IN_REPOSITORY / "typescript")
    language_programs.go_package(IN_REPOSITORY / "go", language_programs.EXAMPLES / "go")
    language_programs.python_program((IN_REPOSITORY / PROGRAMS["python"]).read_text())
